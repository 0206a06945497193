"""Settings that can run the sample; those that differ in the micro-batch alone share their sessions.

But not on providers that pay for shapes: there sessions pad to the sizes of their micro-batch.
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
    """Opens settings when they are needed; `close` closes all.

    Args:
        bundle: whose settings.
        requests: the sample, encoded.
        clients: requests that are sent at once.

    """

    def __init__(self, bundle: Bundle, requests: Sequence[EncodedRequest], clients: int) -> None:
        self._bundle = bundle
        self.requests = requests
        self._clients = ThreadPoolExecutor(clients) if clients > 1 else None
        self._sessions: dict[Setting, Mapping[str, Session]] = {}
        self._open: dict[Setting, Scheduler] = {}

    def scheduler(self, setting: Setting) -> Scheduler:
        """The setting, ready to score; nothing is kept of a history from one call to the next.

        Raises:
            ProviderUnavailable: if its provider does not really run.

        """
        if setting not in self._open:
            kind = _kind(setting)
            if kind not in self._sessions:
                variant = self._bundle.manifest.variant(setting.variant)
                self._sessions[kind] = open_sessions(self._bundle, variant, setting)
            sessions = self._sessions[kind]
            # No limit on the queue: a refused request would count as a setting that does not run.
            self._open[setting] = assemble(self._bundle, sessions, setting, 0, sys.maxsize)
        return self._open[setting]

    def runs(self, settings: Iterable[Setting], first_turn: int = 0) -> dict[Setting, Run]:
        """What runs the sample, by setting, its lengths a little different from one run to the next (`shapes`).

        All begin with the same turn: whoever ran before would otherwise have other lengths than the rest. A setting
        is opened and warmed up, untimed, when it runs first.
        """
        return {setting: self._run(setting, first_turn) for setting in settings}

    def release(self, setting: Setting) -> None:
        """Close a setting, and the sessions that no open one uses; `scheduler` opens it again."""
        self._keep(self._open.keys() - {setting})

    def keep(self, settings: Iterable[Setting]) -> None:
        """Close every setting but these, and the sessions that none of them uses."""
        self._keep(set(settings))

    def _keep(self, wanted: Set[Setting]) -> None:
        for setting in self._open.keys() - wanted:
            self._open.pop(setting).finish()
        for kind in self._sessions.keys() - {_kind(setting) for setting in wanted}:
            _close(self._sessions.pop(kind))

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


def _kind(setting: Setting) -> Setting:
    """What settings with the same sessions have in common."""
    return setting if PROVIDERS[setting.provider].pays_for_shapes else replace(setting, micro_batch_tokens=1)


def _close(sessions: Mapping[str, Session]) -> None:
    for session in sessions.values():
        session.close()
