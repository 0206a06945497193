"""Every example, by its one command of the Makefile, as from a fresh clone: real processes, real requests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onyxrank import Ranker

ROOT = Path(__file__).resolve().parents[2]
HISTORY = ["forest green planter", "steel trowel"]
ITEMS = [
    {"id": "a", "title": "solar stake", "description": "for the garden"},
    {"id": "b", "title": "desk lamp"},
    {"id": "c", "title": "hanging basket 24 cm"},
]
SECONDS_TO_START = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None or sys.platform == "win32", reason="the commands are make's"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where the examples put their shop and bundle; the first to run makes them."""
    return tmp_path_factory.mktemp("examples") / "made"


@pytest.fixture
def command(made):
    """A command of the Makefile in this environment, and the variables to run it with."""

    def command(target, **settings):
        arguments = [f"{name}={value}" for name, value in settings.items()]
        # The environment is this one and ready: only the example itself is to run.
        # The suite itself may run under make, whose variables would reach this one.
        left_out = {"ONYXRANK_BUNDLE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        return (
            [
                "make",
                "--no-print-directory",
                "-o",
                ".venv/.ready",
                target,
                f"BIN={Path(sys.executable).parent}",
                *arguments,
            ],
            {**environment, "ONYXRANK_EXAMPLES": str(made)},
        )

    return command


def run(command, target, **settings):
    arguments, environment = command(target, **settings)
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS_TO_START
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@contextmanager
def serving(command, target, log):
    """The address of a server that is up; it is stopped as a service is (Ctrl-C is ignored in background jobs)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments, environment = command(target, PORT=port)
    with log.open("w") as output:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=60)
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def wait_for(address, process, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def ask(address, body):
    """Status and JSON answer of a request."""
    request = urllib.request.Request(
        f"{address}/rank", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_search_result_is_reranked(command, made):
    lines = run(command, "example-search", QUERY="forest green planter")
    found = int(next(line for line in lines if "items found" in line).split()[0])
    assert found > 5
    after = lines[lines.index("reranked") + 1 :]
    scores = [float(line.split()[1]) for line in after]
    assert len(after) == 5
    assert scores == sorted(scores, reverse=True)
    assert {path.name for path in made.iterdir()} == {"shop", "run", "bundle"}


def test_a_parquet_file_of_requests_is_scored(command, made, tmp_path):
    out = tmp_path / "scored.parquet"
    lines = run(command, "example-batch", OUT=out)
    assert any(f"2,000 rows of 100 shoppers scored into {out}" in line for line in lines)
    scored = pl.read_parquet(out)
    assert sorted(scored["rank"].to_list()) == sorted(list(range(1, 21)) * 100)
    one = scored.filter(pl.col("user_id") == scored["user_id"][7])
    with Ranker.load(made / "bundle") as ranker:
        expected = ranker.score(one["history"][0].to_list(), one)
    np.testing.assert_allclose(one["score"].to_numpy(), expected, atol=1e-6)
    again = tmp_path / "again.parquet"
    run(command, "example-batch", REQUESTS=write(scored.drop("score", "rank"), tmp_path / "in.parquet"), OUT=again)
    assert pl.read_parquet(again).equals(scored)


def write(table, path):
    table.write_parquet(path)
    return path


@pytest.mark.parametrize("target", ["example-fastapi", "example-flask"])
def test_a_server_ranks_as_the_ranker_and_names_faults(command, made, tmp_path, target):
    log = tmp_path / "log"
    with serving(command, target, log) as address, Ranker.load(made / "bundle") as ranker:
        body = {"history": HISTORY, "items": ITEMS, "top_k": 2}
        expected = ranker.rank(HISTORY, ITEMS, 2).as_records()
        # At once, so that threads and worker processes share the work.
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda _: ask(address, body), range(24)))
        for status, answer in answers:
            assert status == 200
            assert [(hit["rank"], hit["item_id"]) for hit in answer] == [
                (hit["rank"], hit["item_id"]) for hit in expected
            ]
            assert [hit["score"] for hit in answer] == pytest.approx([hit["score"] for hit in expected], abs=1e-6)
        status, fault = ask(address, {"history": HISTORY, "items": [*ITEMS, {"id": "d", "title": " "}]})
        assert (status, fault["index"], fault["field"]) == (422, 3, "title")
    said = log.read_text()
    assert "Traceback" not in said
    assert "planter" not in said
