"""Opens the settings that race, so that each can run the sample.

Settings that differ only in the size of the micro-batch share their sessions, which saves the time of opening them.
They do not share on providers on which new shapes take longer, since sessions there pad to the sizes of their own
micro-batch.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from onyxrank.bundle.opening import Bundle
from onyxrank.loading.load import assemble
from onyxrank.loading.parts import open_sessions
from onyxrank.loading.setting import Setting
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.scheduling.scheduler import Scheduler
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.sessions.session import Session
from onyxrank.tune.race import Round, Run
from onyxrank.tune.shapes import shortened


class Contestants:
    """The settings of a bundle, opened when they are needed; `close` closes them all.

    Args:
        bundle: the bundle to tune.
        requests: the sample, encoded.
        clients: number of callers that send requests at the same time.

    Attributes:
        requests: the sample, encoded; it may be replaced between two races.

    """

    def __init__(self, bundle: Bundle, requests: Sequence[EncodedRequest], clients: int) -> None:
        self._bundle = bundle
        self.requests = requests
        self._clients = ThreadPoolExecutor(clients) if clients > 1 else None
        self._sessions: dict[Setting, Mapping[str, Session]] = {}
        self._open: dict[Setting, Scheduler] = {}

    def scheduler(self, setting: Setting) -> Scheduler:
        """Open a setting, if it is not open, and return what scores under it.

        No history is kept from one call to the next, so that repeated runs of the sample take as long as the first.

        Raises:
            ProviderUnavailable: if its provider does not really run.

        """
        if setting not in self._open:
            key = _sessions_key(setting)
            if key not in self._sessions:
                variant = self._bundle.manifest.variant(setting.variant)
                self._sessions[key] = open_sessions(self._bundle, variant, setting)
            sessions = self._sessions[key]
            # The queue has no limit, since a refused request would look like a setting that does not run.
            self._open[setting] = assemble(self._bundle, sessions, setting, 0, sys.maxsize)
        return self._open[setting]

    def runs(self, settings: Iterable[Setting], first_turn: int = 0) -> dict[Setting, Run]:
        """Return a function for each setting that runs the sample once and times it.

        The lengths in the sample differ a little from one run to the next (`shapes`). A setting is opened and warmed
        up, untimed, at its first run.

        Args:
            settings: the settings that are to race.
            first_turn: turn whose lengths the first run has. All settings begin with the same turn, since one that
                ran in an earlier race would otherwise have other lengths than the rest.

        """
        return {setting: self._run(setting, first_turn) for setting in settings}

    def release(self, setting: Setting) -> None:
        """Close a setting, and its sessions if no open setting uses them; `scheduler` would open it again."""
        self._keep(self._open.keys() - {setting})

    def keep(self, settings: Iterable[Setting]) -> None:
        """Close all settings except these, and the sessions that none of these uses."""
        self._keep(set(settings))

    def _keep(self, wanted: Set[Setting]) -> None:
        for setting in self._open.keys() - wanted:
            self._open.pop(setting).finish()
        for key in self._sessions.keys() - {_sessions_key(setting) for setting in wanted}:
            _close(self._sessions.pop(key))

    def _run(self, setting: Setting, first_turn: int) -> Callable[[], Round]:
        turns = itertools.count(first_turn)

        def timed(request: EncodedRequest) -> float:
            start = time.perf_counter()
            self._open[setting].score([request])
            return time.perf_counter() - start

        def run() -> Round:
            if setting not in self._open:
                self.scheduler(setting).score(self.requests[-1:])
            turn = next(turns)
            requests = [shortened(request, turn) for request in self.requests]
            start = time.perf_counter()
            seconds = tuple(map(timed, requests) if self._clients is None else self._clients.map(timed, requests))
            return Round(time.perf_counter() - start, seconds)

        return run

    def close(self) -> None:
        """Close every setting."""
        if self._clients is not None:
            self._clients.shutdown()
        self.keep(())


def _sessions_key(setting: Setting) -> Setting:
    """Return a key that is equal for settings that can share their sessions."""
    return setting if PROVIDERS[setting.provider].pays_for_shapes else replace(setting, micro_batch_tokens=1)


def _close(sessions: Mapping[str, Session]) -> None:
    for session in sessions.values():
        session.close()
