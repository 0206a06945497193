"""The life of a loaded model: how it is opened, replaced by another, asked about, and closed."""

from __future__ import annotations

import asyncio
import copy
import os
import threading
import weakref
from typing import Any, NoReturn, TypeVar

from onyxrank.bundle.opening import open_bundle
from onyxrank.errors import OnyxrankError
from onyxrank.loading.engine import Engine
from onyxrank.loading.load import load_engine
from onyxrank.loading.options import LoadOptions, takes
from onyxrank.scheduling.leases import Leases

Own = TypeVar("Own", bound="Lifetime")


class OfOneProcess:
    """A base class of objects that have threads or locks, and so stay in the process that made them."""

    def __reduce__(self) -> NoReturn:
        raise OnyxrankError(f"a {type(self).__name__} cannot be pickled or copied; load the bundle in each process")


class Lifetime(OfOneProcess):
    """All of a ranker but its rankings. Safe to share between threads and event loops."""

    def __init__(self, engine: Engine, options: LoadOptions | None = None) -> None:
        self._leases = Leases(engine)
        self._options = options or LoadOptions()
        self._reloading = threading.Lock()
        # If nobody calls close(), the threads end when the last reference to the ranker is gone.
        weakref.finalize(self, self._leases.abandon).atexit = False

    @classmethod
    @takes(LoadOptions)
    def load(cls: type[Own], bundle: str | os.PathLike[str], options: LoadOptions) -> Own:
        """Verify a bundle and open it.

        Args:
            bundle: the folder that ``onyxrank export`` wrote.
            options: each field of `LoadOptions` as a keyword argument.

        Raises:
            BundleError: if the bundle or its profile is missing, damaged, altered, or too new.
            ProviderUnavailable: if the provider that was asked for by name does not really run.
            InvalidInput: if an option has a value that it cannot have.

        """
        return cls(load_engine(open_bundle(bundle), options), options)

    def reload(self, bundle: str | os.PathLike[str]) -> None:
        """Serve another bundle from now on, with the options that this one was loaded with.

        Calls in flight end with the model that they began with; no call fails, waits, or mixes two. When this
        returns, the old model has answered its last call and its memory is free; if it raises, the old model goes
        on. It blocks, so do not call it on an event loop.

        Args:
            bundle: folder of the new bundle.

        Raises:
            OnyxrankError: as `load` does, or if the ranker is closed, was carried through a fork, or has calls in
                flight on this thread's event loop.

        """
        self._leases.refuse_on_loop("call reload in a thread: await asyncio.to_thread(ranker.reload, bundle)")
        with self._reloading:
            with self._leases.lease():
                engine = load_engine(open_bundle(bundle), self._options)
            self._leases.replace(engine)

    def check_room(self) -> None:
        """Raise if a request would find no room now, so that a server can refuse it before it reads it.

        Raises:
            OnyxrankError: `Overloaded` if the queue is full; or if the ranker is closed, or was carried by a fork.

        """
        with self._leases.lease() as engine:
            engine.scheduler.check_room()

    def info(self) -> dict[str, Any]:
        """Report as JSON values what is loaded, what it runs on and why, and what the queue and the caches hold."""
        with self._leases.lease() as engine:
            now = {"queue": engine.scheduler.facts()} | engine.encoder.facts() | engine.scheduler.architecture.facts()
            return copy.deepcopy(engine.facts) | now

    def close(self) -> None:
        """Refuse new calls, finish those in flight, and free the sessions. Closing again does nothing.

        It raises `OnyxrankError` and closes nothing where calls of this thread's event loop are in flight.
        """
        self._leases.refuse_on_loop("await ranker.aclose(), or use async with")
        self._leases.close()

    async def aclose(self) -> None:
        """Do what `close` does without blocking the event loop, whose calls in flight end meanwhile."""
        await asyncio.to_thread(self._leases.close)

    async def __aenter__(self: Own) -> Own:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
