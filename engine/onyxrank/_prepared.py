"""A history read once, for many lists of items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onyxrank._encoding import EncodedHistory
from onyxrank._items import Items
from onyxrank._loading import Engine
from onyxrank._pipeline import encode, rank
from onyxrank._ranking import Ranking, check_top_k
from onyxrank._timing import Stopwatch


class PreparedHistory:
    """What `Ranker.prepare` returns. Safe to share between threads; usable until its ranker is closed.

    Args:
        opened: gives the ranker's engine, or raises if it is closed.
        history: the history's token ids, and its keys and values where the architecture has them.

    """

    def __init__(self, opened: Callable[[], Engine], history: EncodedHistory) -> None:
        self._opened = opened
        self._history = history

    def rank(self, items: Items, top_k: int | None = None) -> Ranking:
        """Rank items against the history; as `Ranker.rank`."""
        engine, watch, most = self._opened(), Stopwatch(), check_top_k(top_k)
        with watch.stage("tokenize"):
            request = encode(engine, self._history, items)
        return rank(engine, [request], most, watch)[0]

    def score(self, items: Items) -> NDArray[np.float32]:
        """Score items without sorting them; as `Ranker.score`."""
        engine = self._opened()
        return engine.architecture.score([encode(engine, self._history, items).encoded])[0]
