"""How the workers of one server agree on the bundle to serve: a small file that all of them watch.

Whoever is told to reload does it and, if that worked, writes the file; the others see it within half a second and do
the same. A worker started later, in place of one that was killed, begins with what the file says.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

from onyxrank.errors import OnyxrankError
from onyxrank.serve import logs
from onyxrank.serve.service import Service

_LOOK_EVERY_S = 0.5


class Control:
    """One worker's side of it.

    Args:
        file: that all workers watch; None if there is one worker.

    """

    def __init__(self, file: str | None) -> None:
        self._file = None if file is None else Path(file)
        self._seen = self._read()

    def current(self) -> tuple[str, str] | None:
        """Bundle and name that were told last; None if nothing was."""
        return self._seen

    def tell(self, bundle: str, name: str) -> None:
        """Have the other workers serve a bundle that this one serves already."""
        self._seen = (bundle, name)
        if self._file is not None:
            part = self._file.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(self._seen), encoding="utf-8")
            part.replace(self._file)

    async def watch(self, service: Service) -> None:
        """Follow the others, for ever."""
        while self._file is not None:
            await asyncio.sleep(_LOOK_EVERY_S)
            told = self._read()
            if told is None or told == self._seen:
                continue
            self._seen = told
            try:
                await service.reload(*told)
            except OnyxrankError as error:
                # It loaded in the other worker: files that changed since, or no memory here.
                logs.log("reload failed", logging.ERROR, model=told[1], **logs.of_exception(error))

    def _read(self) -> tuple[str, str] | None:
        if self._file is None or not self._file.exists():
            return None
        bundle, name = json.loads(self._file.read_text(encoding="utf-8"))
        return bundle, name
