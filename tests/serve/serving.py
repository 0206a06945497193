"""A served bundle: on a thread of this process for what the routes answer, as a program of its own for faults."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import httpx
import uvicorn

from onyxrank.loading.options import SERVER_OPTIONS, LoadOptions
from onyxrank.serve.app import build
from onyxrank.serve.connection import Connection
from onyxrank.serve.settings import ServeSettings

API_KEY, ADMIN_KEY = "key-of-the-shop-0001", "key-of-the-admin-0001"
PATIENCE = 60.0


@dataclass
class Served:
    """A server of its own process."""

    process: subprocess.Popen
    url: str
    log: Path

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, **options)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@contextlib.contextmanager
def serving(*, connections: int | None = None, **settings) -> Iterator[str]:
    """Serve on a thread of this process, at most so many connections; gives the address."""
    own = {field.name for field in fields(LoadOptions)}
    load = {"threads": 1} | {name: settings.pop(name) for name in own & settings.keys()}
    told = ServeSettings(**{"name": "shop"} | settings, load=replace(SERVER_OPTIONS, **load))
    options = {"log_config": None, "lifespan": "on", "timeout_keep_alive": told.keep_alive_s}
    options["limit_concurrency"] = connections
    config = uvicorn.Config(build(told), port=0, http=Connection, ws="none", **options)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            deadline = time.monotonic() + PATIENCE
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
