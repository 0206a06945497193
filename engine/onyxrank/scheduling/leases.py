"""Keeps track of which engine a ranker uses now, and which calls still use the one before a reload.

Every call holds a lease on one engine from its beginning to its end, so that a reload in between changes nothing for
it. An engine that was replaced is closed when its last lease has ended.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from onyxrank.errors import OnyxrankError


class Leased(Protocol):
    """What can be leased: something with threads that is closed in the end, such as an engine."""

    def stop(self) -> None:
        """Let the threads end once their work is done, without waiting for them."""

    def close(self) -> None:
        """Finish the work that was accepted, and free everything."""


EngineT = TypeVar("EngineT", bound=Leased)


class Leases(Generic[EngineT]):
    """The engine in use, and how many calls use each engine. Safe to share between threads.

    A forked process can do nothing with it, since the engine's threads stay in the process that loaded it.

    Args:
        engine: the engine to begin with; it is closed when it is replaced, or with `close`.

    """

    def __init__(self, engine: EngineT) -> None:
        self._process = os.getpid()
        self._ended = threading.Condition()
        self._engine: EngineT | None = engine
        self._users: dict[EngineT, int] = {engine: 0}
        self._loops: Counter[asyncio.AbstractEventLoop | None] = Counter()

    @contextmanager
    def lease(self) -> Iterator[EngineT]:
        """Give the engine in use to the block, and keep it open until the block ends.

        Raises:
            OnyxrankError: if the engine is closed, or was loaded in a process that this one was forked from.

        """
        self._check_process()
        loop = _running_loop()
        with self._ended:
            engine = self._engine
            if engine is None:
                raise OnyxrankError("this ranker is closed; load the bundle again")
            self._users[engine] += 1
            self._loops[loop] += 1
        try:
            yield engine
        finally:
            with self._ended:
                self._users[engine] -= 1
                self._loops[loop] -= 1
                if not self._loops[loop]:
                    del self._loops[loop]
                self._ended.notify_all()

    def refuse_on_loop(self, remedy: str) -> None:
        """Refuse to wait for calls that can only go on when the caller's event loop does.

        Args:
            remedy: what to do instead, for the message.

        Raises:
            OnyxrankError: if this is an event loop's thread, and coroutines of that loop hold leases.

        """
        loop = _running_loop()
        with self._ended:
            held = loop is not None and self._loops[loop] > 0
        if held:
            raise OnyxrankError(f"calls of this event loop are in flight, and waiting here would stop them; {remedy}")

    def replace(self, engine: EngineT) -> None:
        """Use another engine from now on, and return when the old one has no users any more and is closed.

        Raises:
            OnyxrankError: if this is closed, so that there is no engine to replace; then the new one is closed too.

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
        """Refuse new leases, and return when all leases have ended and the engine is closed.

        Closing again does nothing. In a forked process nothing is closed, since the threads that it would wait for
        stayed in the other process.
        """
        if os.getpid() != self._process:
            return
        with self._ended:
            old, self._engine = self._engine, None
        if old is not None:
            self._end(old)

    def abandon(self) -> None:
        """Let the engine's threads end without waiting for them; a forked process has none of them."""
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


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
