"""gunicorn, which forks its workers: a ranker loaded in each works, one carried into them says what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
from serving import PATIENCE, free_port

pytest.importorskip("gunicorn")

APP = """
import os, onyxrank

RANKER = onyxrank.Ranker.load(os.environ["BUNDLE"], threads=2)
RANKER.score("tent", ["lamp"])

def app(environ, start_response):
    try:
        answer = f"scored {len(RANKER.score('tent', ['lamp', 'stove']))}"
    except onyxrank.OnyxrankError as error:
        answer = str(error)
    start_response("200 OK", [("content-type", "text/plain")])
    return [answer.encode()]
"""


@pytest.mark.parametrize(
    ("preload", "says"), [(False, "scored 2"), (True, "loaded before the process was forked")], ids=["own", "carried"]
)
def test_workers(trained_bundle, tmp_path, preload, says):
    (tmp_path / "shop.py").write_text(APP)
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "shop:app", "--workers", "2", "--no-control-socket"]
    command += ["--bind", f"127.0.0.1:{port}", "--chdir", str(tmp_path), *(["--preload"] if preload else [])]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | {"BUNDLE": str(trained_bundle)}, stderr=log)
    try:
        answer = asked(process, port, tmp_path / "log")
        assert says in answer
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, "workers end by themselves"
        assert "SIGKILL" not in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait(PATIENCE)


def asked(process, port, log):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE).text
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
