"""A served bundle for clients of other rerankers, unmodified; `make test-clients` has them in their own environments.

There, ONYXRANK_PYTHON names the interpreter of the project's environment, which serves, and ONYXRANK_BUNDLE the
bundle. In the ordinary suite this interpreter serves, and tests whose client is not installed are skipped.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from asked import KEY

from onyxrank import Ranker

_PATIENCE = 60.0


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Path:
    named = os.environ.get("ONYXRANK_BUNDLE")
    return Path(named) if named else request.getfixturevalue("tiny_bundle")


@pytest.fixture(scope="session")
def ranker(bundle: Path) -> Iterator[Ranker]:
    with Ranker.load(bundle, threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def url(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that asks for a key."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "keys").write_text(KEY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [os.environ.get("ONYXRANK_PYTHON", sys.executable), "-m", "onyxrank", "serve", str(bundle)]
    command += ["--port", str(port), "--threads", "1", "--api-key-file", str(folder / "keys")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _ready(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(_PATIENCE) == 0


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready") as response:
            return response.status == 200
    except OSError:
        return False
