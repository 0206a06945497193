"""Lets the workers of one server agree on the bundle to serve, through a small file that all of them watch.

1. The worker that gets the request to reload does so and, if that worked, writes the file.
2. The others see the file change within half a second, and load the same bundle.
3. A worker that is started later, in place of one that was killed, begins with what the file says.
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
"""Seconds between two looks at the file."""


class Control:
    """One worker's view of the file.

    Args:
        file: the file that all workers watch, or None if there is only one worker.

    """

    def __init__(self, file: str | None) -> None:
        self._file = None if file is None else Path(file)
        self._seen = self._read()

    def current(self) -> tuple[str, str] | None:
        """Return the bundle and the name that were announced last, or None if none were."""
        return self._seen

    def announce(self, bundle: str, name: str) -> None:
        """Let the other workers know which bundle this one serves now, so that they load it too."""
        self._seen = (bundle, name)
        if self._file is not None:
            part = self._file.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(self._seen), encoding="utf-8")
            part.replace(self._file)

    async def watch(self, service: Service) -> None:
        """Load what other workers announce, until this task is cancelled."""
        while self._file is not None:
            await asyncio.sleep(_LOOK_EVERY_S)
            announced = self._read()
            if announced is None or announced == self._seen:
                continue
            self._seen = announced
            try:
                await service.reload(*announced)
            except OnyxrankError as error:
                # The bundle did load in the other worker. Its files may have changed since, or memory ran out here.
                logs.log("reload failed", logging.ERROR, model=announced[1], **logs.of_exception(error))

    def _read(self) -> tuple[str, str] | None:
        if self._file is None or not self._file.exists():
            return None
        bundle, name = json.loads(self._file.read_text(encoding="utf-8"))
        return bundle, name
