"""The wheel: what is in it, and that it ranks where only the engine's own dependencies are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import onyxrank
from onyxrank import Ranker

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ["steel tent pegs", "camping stove"]
TITLES = ["red tent", "desk lamp", "dog leash"]
RANK = """
import importlib.util, json, sys
import onyxrank
absent = ("torch", "transformers", "typer", "polars", "onnx")
assert not [name for name in absent if importlib.util.find_spec(name)], "installed"
with onyxrank.Ranker.load(sys.argv[1], threads=1) as ranker:
    scores = ranker.score(json.loads(sys.argv[2]), json.loads(sys.argv[3]))
assert not {*absent, "onyxrank_export"} & set(sys.modules), "imported"
print(json.dumps({"scores": scores.tolist(), "file": onyxrank.__file__, "version": onyxrank.__version__}))
"""

pytestmark = pytest.mark.slow


def output(*command, cwd):
    # What lies on PYTHONPATH would be taken for what is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built of the source archive, and that from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "results", "demo", "dist", "build")
    shutil.copytree(ROOT, source, ignore=skipped)
    output(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, cwd=source)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of a fresh environment with the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=True)
    interpreter = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    output(*pip, "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    return interpreter


def test_the_wheel_holds_both_packages_and_their_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {
        "onyxrank/__init__.py",
        "onyxrank/py.typed",
        "onyxrank/cli/app.py",
        "onyxrank_export/__init__.py",
        "onyxrank_export/py.typed",
        "onyxrank_export/data/shop_words.json",
    } <= names
    assert {name.partition("/")[0] for name in names} == {
        "onyxrank",
        "onyxrank_export",
        f"onyxrank-{onyxrank.__version__}.dist-info",
    }
    for package, folder in (("onyxrank", "engine"), ("onyxrank_export", "export")):
        checkout = {
            path.relative_to(ROOT / folder).as_posix()
            for path in (ROOT / folder / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert {name for name in names if name.startswith(f"{package}/")} == checkout


def test_the_engine_asks_for_three_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    always = sorted(line.partition(">")[0] for line in required if "extra ==" not in line)
    assert always == ["numpy", "onnxruntime", "tokenizers"]
    assert f"Version: {onyxrank.__version__}" in lines


def test_the_installed_wheel_ranks_like_the_checkout(python, tiny_bundle, tmp_path):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    told = json.loads(
        output(python, "-c", RANK, bundle, json.dumps(HISTORY), json.dumps(TITLES), cwd=tmp_path).splitlines()[-1]
    )
    assert str(ROOT) not in told["file"]
    assert told["version"] == onyxrank.__version__
    with Ranker.load(tiny_bundle, threads=1) as ranker:
        assert told["scores"] == ranker.score(HISTORY, TITLES).tolist()


def test_the_program_says_which_extra_it_needs(python, tmp_path):
    done = subprocess.run(
        [python.with_name("onyxrank"), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "onyxrank: the command line needs typer: pip install 'onyxrank[cli]'\n"
