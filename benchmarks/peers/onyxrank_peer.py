"""Ourselves, as the profile of the machine says, in a process like the others'."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from base import versions

from onyxrank import Ranker


class _Engine:
    choices: Sequence[object] = ()

    def __init__(self, folder: str, **options: Any) -> None:
        self._ranker = Ranker.load(folder, **options)
        info = self._ranker.info()
        names = ("variant", "provider", "threads", "sessions", "micro_batch_tokens")
        self.settings: dict[str, object] = {"versions": versions("onyxrank", "onnxruntime")}
        self.settings |= {name: info[name] for name in names} | {"tuned": info["profile"] is not None}

    def use(self, choice: object) -> None:
        """There is nothing to choose: `onyxrank tune` has."""

    def score(self, query: str, texts: Sequence[str], request: dict[str, Any]) -> Sequence[float]:
        """Rank as users do, and put the scores back into input order.

        They are compared with those of peers, which have no readout: the logistic function's.
        """
        ranking = self._ranker.rank(request["history"], request["items"])
        scores = [0.0] * len(texts)
        for hit in ranking.hits:
            scores[hit.index] = 1 / (1 + math.exp(-hit.margin))
        return scores


def _load(**options: Any) -> Callable[[str, int], _Engine]:
    return lambda folder, threads: _Engine(folder, **options)


WAYS = {
    "onyxrank": _load(history_cache_bytes=0, item_cache_bytes=0),
    "onyxrank fp32": _load(history_cache_bytes=0, item_cache_bytes=0, variant="fp32"),
    "onyxrank, history seen before": _load(item_cache_bytes=0),
}
