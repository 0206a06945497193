"""Which model a ranker uses now, and which calls still use the one before.

Every call holds a lease on one engine from its first step to its last, so that a reload in between changes nothing
for it; an engine is closed when its last lease has ended.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from onyxrank.errors import OnyxrankError


class Leased(Protocol):
    """What is used and then closed: an engine."""

    def stop(self) -> None:
        """Let its threads end, without waiting for them."""

    def close(self) -> None:
        """Finish what it has begun and free everything."""


EngineT = TypeVar("EngineT", bound=Leased)


class Leases(Generic[EngineT]):
    """The engine in use and its users. Safe to share between threads, and useless in a forked process.

    Args:
        engine: the first one; closed when it is replaced, or here.

    """

    def __init__(self, engine: EngineT) -> None:
        self._process = os.getpid()
        self._ended = threading.Condition()
        self._engine: EngineT | None = engine
        self._users: dict[EngineT, int] = {engine: 0}

    @contextmanager
    def lease(self) -> Iterator[EngineT]:
        """Use the engine in the block.

        Raises:
            OnyxrankError: if it is closed, or was loaded in a process that this one was forked from.

        """
        self._check_process()
        with self._ended:
            engine = self._engine
            if engine is None:
                raise OnyxrankError("this ranker is closed; load the bundle again")
            self._users[engine] += 1
        try:
            yield engine
        finally:
            with self._ended:
                self._users[engine] -= 1
                self._ended.notify_all()

    def replace(self, engine: EngineT) -> None:
        """Use another engine from now on; return when the old one has no users and is closed.

        Raises:
            OnyxrankError: if there is none to replace: then the new one is closed.

        """
        self._check_process()
        with self._ended:
            old = self._engine
            if old is not None:
                self._engine = engine
                self._users[engine] = 0
        if old is None:
            engine.close()
            raise OnyxrankError("this ranker is closed; load the bundle again")
        self._end(old)

    def close(self) -> None:
        """Refuse new leases; return when those given have ended and the engine is closed. Again does nothing.

        In a forked process nothing is closed: the threads that it would wait for stayed in the other one.
        """
        if os.getpid() != self._process:
            return
        with self._ended:
            old, self._engine = self._engine, None
        if old is not None:
            self._end(old)

    def abandon(self) -> None:
        """Let the threads end, without waiting for them; in a forked process there are none."""
        engine = self._engine
        if engine is not None and os.getpid() == self._process:
            engine.stop()

    def _end(self, engine: EngineT) -> None:
        with self._ended:
            while self._users[engine]:
                self._ended.wait()
            del self._users[engine]
        engine.close()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise OnyxrankError(
                "this ranker was loaded before the process was forked, and its threads stayed behind; load the "
                "bundle in each process, after the fork (in gunicorn: without preload, or in post_fork)"
            )
