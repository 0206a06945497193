"""A history that is read once and then used to rank many lists of items."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onyxrank.loading.engine import Engine
from onyxrank.loading.lifetime import OfOneProcess
from onyxrank.request.items import Items
from onyxrank.request.ranking import Ranking, check_top_k
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest
from onyxrank.scheduling.deadlines import moment
from onyxrank.scheduling.leases import Leases
from onyxrank.scheduling.waiting import Margins


class PreparedHistory(OfOneProcess):
    """What `Ranker.prepare` returns. Safe to share between threads; usable until its ranker is closed.

    After a reload, the new model reads the history again at the next use.

    Args:
        leases: the leases of the ranker.
        events: the checked texts of the history, oldest first.
        ranker: the ranker, which is kept alive: its threads end with the last reference to it.

    """

    def __init__(self, leases: Leases[Engine], events: Sequence[str], ranker: object = None) -> None:
        self._leases = leases
        self._ranker = ranker
        self._events = events
        with leases.lease() as engine:
            self._known = _read(engine, events, Stopwatch(), None)

    def rank(self, items: Items, top_k: int | None = None, *, deadline: float | None = None) -> Ranking:
        """Rank items against the history, as `Ranker.rank` does."""
        watch, most = Stopwatch(), check_top_k(top_k)
        with self._leases.lease() as engine:
            requests, margins = self._score(engine, items, watch, deadline)
        return engine.rankings(requests, margins, most, watch)[0]

    def score(self, items: Items, *, deadline: float | None = None) -> NDArray[np.float32]:
        """Score items without sorting them, as `Ranker.score` does."""
        with self._leases.lease() as engine:
            _, margins = self._score(engine, items, Stopwatch(), deadline)
        return engine.probabilities(margins)[0]

    def _score(
        self, engine: Engine, items: Items, watch: Stopwatch, deadline: float | None
    ) -> tuple[list[EncodedRequest], Margins]:
        clock = engine.scheduler.clock
        due = moment(deadline, clock)
        reader, history = self._known
        if reader() is not engine:
            self._known = _, history = _read(engine, self._events, watch, due)
        left = None if due is None else due - clock()
        return engine.score(lambda: [engine.encode(history, items)], watch, left)


def _read(
    engine: Engine, events: Sequence[str], watch: Stopwatch, due: float | None
) -> tuple[weakref.ref[Engine], EncodedHistory]:
    """Tokenize a history and compute its state.

    Returns:
        A weak reference to the engine, which must not be kept alive after a reload, and the encoded history.

    """
    with watch.stage("tokenize"):
        encoded = engine.encoder.encode_history(events)
    return weakref.ref(engine), replace(encoded, state=engine.scheduler.prepare(encoded, watch, due))
