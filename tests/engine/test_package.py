from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import onyxrank
from onyxrank import errors

ERRORS = {
    name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)
}


@pytest.mark.parametrize(
    "error",
    [
        onyxrank.InvalidInput("no title", field="title", index=3),
        onyxrank.NonFiniteScore("NaN", index=2),
        onyxrank.MissingExtra("export", "training", "torch"),
        onyxrank.BundleError("damaged"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_whole_out_of_another_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))


def test_exported_names():
    assert onyxrank.__all__ == sorted(onyxrank.__all__)
    public = {
        name
        for name, value in vars(onyxrank).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == set(onyxrank.__all__) - {"__version__"}


def test_the_version_is_that_of_the_project():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.*)"$', text, re.MULTILINE).group(1) == onyxrank.__version__


def test_every_error_is_exported_drawn_and_under_the_root():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__)) | {"OnyxrankError"}
    assert set(ERRORS) == drawn
    for name, error in ERRORS.items():
        assert issubclass(error, onyxrank.OnyxrankError)
        assert getattr(onyxrank, name) is error


@pytest.mark.parametrize(
    ("error", "builtin", "attributes"),
    [
        (onyxrank.InvalidInput("m", field="title", index=3), ValueError, {"field": "title", "index": 3}),
        (onyxrank.MissingExtra("cli", "the command line", "rich"), ImportError, {"extra": "cli"}),
        (onyxrank.NonFiniteScore("m", index=4), Exception, {"index": 4}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_carry_the_place(error, builtin, attributes):
    assert isinstance(error, builtin)
    assert {name: getattr(error, name) for name in attributes} == attributes


def test_a_missing_extra_says_how_to_get_it():
    assert str(onyxrank.MissingExtra("cli", "the command line", "rich")) == (
        "the command line needs the extra 'cli' (rich is not installed): pip install 'onyxrank[cli]'"
    )


@pytest.mark.parametrize("load", [False, True], ids=["import", "rank"])
def test_no_training_library_is_imported(tiny_bundle, load):
    code = (
        "import sys, onyxrank\n"
        "if sys.argv[2] == 'True':\n"
        "    with onyxrank.Ranker.load(sys.argv[1], threads=1) as ranker:\n"
        "        ranker.rank(['tent'], ['lamp', 'stove'])\n"
        "heavy = {'torch', 'transformers', 'onnx', 'polars', 'typer', 'onyxrank_export'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_bundle), str(load)], check=True, timeout=60)


def test_the_engine_starts_no_logging_and_prints_nothing(tiny_bundle):
    code = (
        "import logging, sys, onyxrank\n"
        "with onyxrank.Ranker.load(sys.argv[1], threads=1) as ranker:\n"
        "    ranker.rank(['tent'], ['lamp'])\n"
        "assert not logging.getLogger().handlers\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiny_bundle)], check=True, timeout=60, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")
