"""Lets the workers of one server agree on the bundle to serve, through small files that all of them watch.

1. The worker that gets the request to reload loads the bundle. If that worked, it announces the bundle as the next
   generation, in a file of its own that no other worker can write too, and serves it.
2. The others see the new generation within half a second, and load its bundle, even if the folder is the same.
3. A worker that is started later, in place of one that was killed, begins with the newest generation.

Generations are counted from 1; whatever was announced last is served by all in the end. A reload that has begun comes
to its end even if the client that asked for it has left, and one worker does them one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onyxrank.errors import OnyxrankError
from onyxrank.serve import logs
from onyxrank.serve.service import Service

_LOOK_EVERY_S = 0.5
"""Seconds between two looks for a new generation."""
_LONGEST_WAIT_S = 8.0
"""Most seconds between two looks while a generation cannot be loaded; the wait doubles until then."""


class ReloadFailed(OnyxrankError):
    """A bundle could be loaded, but the server cannot go over to it."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A bundle that all workers are to serve.

    Attributes:
        generation: number of the announcement; 0 is what the server was started with.
        bundle: folder of the bundle.
        name: name of the model.

    """

    generation: int
    bundle: str
    name: str


class Control:
    """One worker's view of what was announced, and its reloads.

    Args:
        file: beginning of the files' paths, which all workers share, or None if there is only one worker.
        bundle: folder that the server was started with.
        name: name of its model.

    """

    def __init__(self, file: str | None, bundle: str, name: str) -> None:
        self._file = file
        self._served = Announced(0, bundle, name)
        self._one_at_a_time = asyncio.Lock()
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self) -> Announced:
        """Return what to serve first; everything that is announced later is followed."""
        self._served = self._newest()
        return self._served

    def watch(self, service: Service) -> None:
        """Follow what other workers announce, from now until `close`."""
        if self._file is not None:
            self._keep(asyncio.create_task(self._watch(service)))

    async def reload(self, service: Service, bundle: str, name: str) -> tuple[str, dict[str, Any]]:
        """Serve another bundle in all workers and return its model's name and `info`.

        If it cannot be loaded, the error is raised and the model before is served as before. Cancelling this call
        leaves the reload going.

        Args:
            service: the service of this worker.
            bundle: folder of the bundle.
            name: name of the model, or empty for the name that it has.

        Raises:
            ReloadFailed: if the other workers cannot be told, or the server is stopping.
            OnyxrankError: if `Ranker.load` raises it.

        """
        reloading = asyncio.create_task(self._reload(service, bundle, name))
        self._keep(reloading)
        return await asyncio.shield(reloading)

    async def close(self) -> None:
        """Begin no more reloads, and return when the one in progress has ended."""
        self._closing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it is in the log already; asyncio would complain if nobody asked for it

    async def _reload(self, service: Service, bundle: str, name: str) -> tuple[str, dict[str, Any]]:
        async with self._one_at_a_time:
            if self._closing.is_set():
                raise ReloadFailed("the server is stopping; reload when it has started again")
            name = name or service.name
            try:
                return name, await self._serve(service, None, bundle, name)
            except Exception as error:
                _log_failure(error, name)
                raise

    async def _watch(self, service: Service) -> None:
        wait = _LOOK_EVERY_S
        while not await self._closing_within(wait):
            try:
                async with self._one_at_a_time:
                    newest = self._newest()
                    if newest.generation != self._served.generation:
                        await self._serve(service, newest, newest.bundle, newest.name)
                wait = _LOOK_EVERY_S
            except Exception as error:
                # The bundle did load in the other worker. Its files may have changed since, or memory ran out here.
                # Whatever it was, this worker goes on with the model before, and tries again.
                _log_failure(error, service.name)
                wait = min(2 * wait, _LONGEST_WAIT_S)

    async def _serve(self, service: Service, announced: Announced | None, bundle: str, name: str) -> dict[str, Any]:
        fresh = await service.load(bundle)
        try:
            self._served = announced or self._announce(bundle, name)
        except OSError as error:
            await asyncio.to_thread(fresh.close)
            raise ReloadFailed(
                f"{self._file}: other workers cannot be told to reload ({error.strerror or type(error).__name__}); "
                "make room there, or check who may write"
            ) from error
        return await service.replace(fresh, name)

    async def _closing_within(self, seconds: float) -> bool:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return self._closing.is_set()

    def _announce(self, bundle: str, name: str) -> Announced:
        generation = self._served.generation + 1
        if self._file is None:
            return Announced(generation, bundle, name)
        part = Path(f"{self._file}.part-{os.getpid()}-{id(self)}")
        part.write_text(json.dumps([bundle, name]), encoding="utf-8")
        try:
            while True:
                # A link appears with its whole content, and only where there is none: so each has one author.
                with contextlib.suppress(FileExistsError):
                    os.link(part, self._path(generation))
                    return Announced(generation, bundle, name)
                generation += 1
        finally:
            part.unlink()

    def _newest(self) -> Announced:
        generation = self._served.generation
        while self._file is not None and self._path(generation + 1).exists():
            generation += 1
        if generation == self._served.generation:
            return self._served
        bundle, name = json.loads(self._path(generation).read_text(encoding="utf-8"))
        return Announced(generation, bundle, name)

    def _path(self, generation: int) -> Path:
        return Path(f"{self._file}.{generation}")


def _log_failure(error: Exception, name: str) -> None:
    reason = {"reason": str(error)} if isinstance(error, OnyxrankError) else {}
    logs.log("reload failed", logging.ERROR, model=name, **reason, **logs.of_exception(error))
