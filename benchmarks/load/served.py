"""A server in a process of its own, locust that asks it, and what is read from it meanwhile."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from model import WORK
from peers.environments import make_environment

HERE = Path(__file__).resolve().parent
T = TypeVar("T")


def environment() -> Path:
    """Return the Python of locust's own environment, which is made if it is not there."""
    return make_environment(WORK / "load", HERE / "requirements.txt")


@contextmanager
def server(bundle: Path, variant: str) -> Iterator[tuple[psutil.Process, str]]:
    """Start a server in a process of its own, and wait until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (WORK / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "onyxrank", "serve", str(bundle), "--port", str(port), "--variant", variant],
            stderr=log,
        )
        try:
            while not _ready(url):
                if process.poll() is not None:
                    sys.exit(f"the server did not start; see {WORK / 'serve.log'}")
                time.sleep(0.1)
            yield psutil.Process(process.pid), url
        finally:
            process.terminate()
            process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def shoot(url: str, requests: Path, seconds: float, users: int, rate: float = 0.0) -> dict[str, Any]:
    """Have locust ask for some seconds; `rate` is requests per second of one user, 0 for as fast as answers come."""
    python = environment()
    out = WORK / "load.json"
    settings = {
        "ONYXRANK_LOAD_REQUESTS": str(requests),
        "ONYXRANK_LOAD_OUT": str(out),
        "ONYXRANK_LOAD_RATE": str(rate),
    }
    command = [python, "-m", "locust", "-f", HERE / "locustfile.py", "--headless", "--only-summary", "-H", url]
    command += ["-u", str(users), "-r", str(users), "-t", f"{seconds:.0f}s", "--stop-timeout", "60"]
    with (WORK / "locust.log").open("w") as log:
        done = subprocess.run(command, env=os.environ | settings, stdout=log, stderr=log)
    seen: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    seen["exit_status"] = done.returncode
    return seen


@contextmanager
def beside(every_s: float, do: Callable[[], T]) -> Iterator[list[T]]:
    """Do something on a thread every so many seconds, as long as the block runs, and collect what it returns."""
    results: list[T] = []
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_s):
            results.append(do())

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield results
    finally:
        stop.set()
        thread.join()


def probe_seconds(client: httpx.Client, url: str) -> float:
    """Measure how long /health/live takes now."""
    began = time.perf_counter()
    client.get(f"{url}/health/live").raise_for_status()
    return time.perf_counter() - began


def widget_seconds(url: str, body: dict[str, Any]) -> float:
    """Measure how long one widget takes now; it is infinite if it is refused."""
    began = time.perf_counter()
    status = httpx.post(f"{url}/v1/rank", json=body, timeout=60).status_code
    return time.perf_counter() - began if status == 200 else float("inf")


def recovery_seconds(url: str, body: dict[str, Any], idle_s: float) -> float:
    """Wait until a widget takes no more than twice what it takes on an idle server, and return the seconds."""
    began = time.perf_counter()
    while widget_seconds(url, body) > 2 * idle_s:
        time.sleep(0.02)
    return time.perf_counter() - began


def metric(url: str, name: str) -> float:
    """Read one figure of /metrics."""
    [line] = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])
