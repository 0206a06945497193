"""A peer's worker process, as the race drives it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onyxrank.measure.requests import Request

HERE = Path(__file__).resolve().parent
_LONGEST_S = 1200.0
"""The longest that one answer may take: compiling and trying every batch size on a slow machine takes minutes."""


class PeerFailed(Exception):
    """A peer did not load, or did not answer."""


class PeerProcess:
    """A running worker.

    Args:
        python: interpreter of its environment.
        module: of the folder of peers.
        way: the name in that module.
        folder: the checkpoint or bundle.
        threads: to run with.
        log: where its standard error goes.

    Raises:
        PeerFailed: if it does not load.

    """

    def __init__(self, python: Path, module: str, way: str, folder: Path, threads: int, log: Path) -> None:
        self.way = way
        self._best: dict[str, object] = {}
        self._log = log.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [python, HERE / "worker.py", module, way, folder, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )
        try:
            self.settings: dict[str, Any] = self._read()["settings"]
        except PeerFailed:
            self.close()
            raise

    def tune(self, name: str, request: Request) -> None:
        """Let it find its best setting for a workload's request, and go on with it."""
        self.settings = self._ask("tune", request=plain(request))["settings"]
        self._best[name] = self.settings.get("batch")

    def use_best_of(self, name: str) -> bool:
        """Go on with what was best for a workload; False if it was not tuned for it."""
        if self._best.get(name) is not None:
            self.settings = self._ask("use", choice=self._best[name])["settings"]
        return name in self._best

    def rank(self, request: Request) -> float:
        """Return the seconds of one request."""
        return float(self._ask("rank", request=plain(request))["seconds"])

    def score(self, request: Request) -> list[float]:
        """Return the scores of a request."""
        return list(self._ask("score", request=plain(request))["scores"])

    def busy(
        self, requests: Mapping[str, Request], order: list[str], callers: int, seconds: float
    ) -> tuple[dict[str, list[float]], float]:
        """Return the seconds of each request, by kind, with that many callers at once; and those of all."""
        texts = {name: plain(request) for name, request in requests.items()}
        answer = self._ask("busy", requests=texts, order=order, callers=callers, seconds=seconds)
        return dict(answer["seconds"]), float(answer["elapsed"])

    def close(self) -> None:
        """End the worker; a second call does nothing."""
        if self._log.closed:
            return
        try:
            self._process.communicate('{"do": "quit"}\n', timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.communicate()
        self._log.close()

    def _ask(self, what: str, **command: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **command}) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # the latter of a pipe that is closed
            raise PeerFailed(f"{self.way} is gone ({error}); see {self._log.name}") from error
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        overdue = threading.Timer(_LONGEST_S, self._process.kill)
        overdue.start()
        try:
            line = self._process.stdout.readline()
        finally:
            overdue.cancel()
        if not line:
            raise PeerFailed(f"{self.way} ended without an answer; see {self._log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return dict(answer)


def plain(request: Request) -> dict[str, Any]:
    """Write a request as JSON values."""
    items = [{"id": item.id, "title": item.title, "description": item.description} for item in request.items]
    return {"history": list(request.history), "items": items}
