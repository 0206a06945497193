"""The program as a process of its own: exit statuses, pipes, and what it says where an extra is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

HIDE = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hide())
sys.argv = ["onyxrank", *sys.argv[1:]]
from onyxrank.cli import main
main()
"""


def program(*arguments, hidden=None, limit_s=120, **settings):
    start = ["-m", "onyxrank"] if hidden is None else ["-c", HIDE.format(hidden=set(hidden))]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)], capture_output=True, text=True, timeout=limit_s, **settings
    )


@pytest.mark.slow
def test_the_demo_itself_from_a_tiny_model(tmp_path):
    """Nothing replaced: both architectures trained for two steps, exported, judged, evaluated and raced."""
    out = tmp_path / "demo"
    done = program("demo", "--base", "tiny", "--steps", 2, "--out", out, limit_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("One shopper bought", "Really bought next", "popularity", "BM25", "(b) PyTorch fp32", "Done in"):
        assert text in done.stdout
    for architecture in ("cross", "shared-history"):
        manifest = json.loads((out / architecture / "bundle" / "onyxrank.json").read_text())
        assert manifest["architecture"] == architecture
        with Image.open(out / architecture / "run" / "curves.png") as picture:
            assert picture.size == (1800, 540)
            assert (31, 119, 180) in {colour for _, colour in picture.convert("RGB").getcolors(2**20)}, "no curve"
    asked = ("--history", "tent", "--items", out / "shop" / "items.parquet", "--top-k", 3, "--json")
    assert len(json.loads(program("rank", out / "shared-history" / "bundle", *asked).stdout)) == 3


@pytest.fixture
def items(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"item_id": "a", "item_title": "steel tent pegs"}\n{"item_id": "b", "item_title": "desk lamp"}\n'
    )
    return path


def test_a_ranking_is_clean_json_on_standard_output(tiny_bundle, items):
    done = program("rank", tiny_bundle, "--history", "camping tent", "--items", items, "--json")
    assert done.returncode == 0
    assert sorted(row["item_id"] for row in json.loads(done.stdout)) == ["a", "b"]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_a_character_gets_a_question_mark(tiny_bundle):
    command = [sys.executable, "-m", "onyxrank", "inspect", str(tiny_bundle)]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=ascii_only, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "?AUC" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--version"], 0), (["inspect", "nowhere"], 1), (["inspect"], 2), (["--loud"], 2)],
    ids=["done", "error", "usage", "unknown-option"],
)
def test_exit_statuses(arguments, status):
    done = program(*arguments)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_interrupted_training_ends_with_130_and_one_line(aisle_data, tmp_path):
    command = [sys.executable, "-m", "onyxrank", "train", "--data", str(aisle_data), "--out", str(tmp_path / "run")]
    command += ["--base", "tiny", "--arch", "cross", "--max-steps", "5000", "--precision", "fp32"]
    command += ["--contrastive-steps", "0", "--contrastive-weight", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (tmp_path / "run" / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "onyxrank: interrupted"
    assert "Traceback" not in errors


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_a_reader_that_has_enough_is_no_error(tiny_bundle, options):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        command = [sys.executable, "-m", "onyxrank", "inspect", str(tiny_bundle), *options]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("hidden", "arguments", "message"),
    [
        (["typer"], ["--help"], "the command line needs typer: pip install 'onyxrank[cli]'"),
        (["rich"], ["--help"], "the command line needs rich: pip install 'onyxrank[cli]'"),
        (
            ["torch"],
            ["train", "--data", "x", "--out", "y"],
            "training needs the extra 'export' (torch is not installed)",
        ),
        (["torch"], ["export", "x", "--out", "y"], "export needs the extra 'export' (torch is not installed)"),
        (["polars"], ["demo", "--out", "y"], "the demo needs the extra 'export' (polars is not installed)"),
    ],
    ids=["typer", "rich", "train", "export", "demo"],
)
def test_a_missing_extra_is_named(tmp_path, hidden, arguments, message):
    done = program(*arguments, hidden=hidden, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "pip install 'onyxrank[" in done.stderr


def test_ranking_needs_neither_torch_nor_polars(tiny_bundle, items):
    done = program(
        "rank",
        tiny_bundle,
        "--history",
        "tent",
        "--items",
        items,
        "--json",
        hidden=["torch", "polars", "transformers", "onnx"],
    )
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 2
