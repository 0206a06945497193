"""The ways of ranking that a benchmark compares: the protocol that each follows, and the engine as one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.readout import Readout
from onyxrank.measure.requests import Request
from onyxrank.ranker import Ranker
from onyxrank.request.timings import Timings

Say = Callable[[str], None]
"""A function that is called with a sentence about each step as it begins."""

LOOP, BATCHES, BF16 = "reference_loop", "sorted_batches", "sorted_batches_bf16"
EAGER_LABELS = {
    LOOP: "(a) PyTorch, one by one",
    BATCHES: "(b) PyTorch fp32, batches",
    BF16: "(c) PyTorch bf16, batches",
}
"""Labels of the eager PyTorch ways in tables, by the ways' names."""

WEIGHTS = "model.safetensors"
"""File of a model's folder with the weights that PyTorch loads."""
_WARMUP_ITEMS = 16
"""Items with which the engine is warmed up; they are enough for its first runs, and quick."""


class Way(Protocol):
    """One implementation with its settings. Texts go in and a sorted ranking comes out, so that tokenizing counts."""

    name: str
    """Short name, unique among the ways that are compared."""

    @property
    def settings(self) -> Mapping[str, object]:
        """The settings that the way runs with, as JSON values; `prepare` may change them."""

    def prepare(self, request: Request) -> None:
        """Warm up, and choose the best settings for requests of this size."""

    def rank(self, request: Request) -> object:
        """Rank the request. The time of this call is measured."""

    def score(self, request: Request) -> NDArray[np.float32]:
        """Return the items' probabilities in input order, which are compared with those of other ways."""

    def close(self) -> None:
        """Free what was loaded."""


EagerFactory = Callable[[Path, int, Say], Iterator[Way]]
"""A function that loads the eager PyTorch ways of a bundle's folder for a number of threads.

It loads each when the iterator is asked for it.
"""


class EngineWay:
    """The engine with one variant of a bundle, as a way.

    Args:
        ranker: the ranker that runs; it is closed with the way.
        name: name of the way; the variant's name by default.

    Attributes:
        timings: time that every `rank` so far spent in each stage. They add up until somebody clears the list.

    """

    def __init__(self, ranker: Ranker, name: str | None = None) -> None:
        self._ranker = ranker
        self._info = ranker.info()
        self.name = name or str(self._info["variant"])
        self.timings: list[Timings] = []

    @classmethod
    def load(
        cls,
        bundle: Path,
        variant: str,
        *,
        provider: str,
        threads: int,
        sessions: int | None = None,
        micro_batch_tokens: int | None = None,
        history_cache_bytes: int = 0,
        item_cache_bytes: int = 0,
        name: str | None = None,
    ) -> EngineWay:
        """Load a variant; see `Ranker.load` for the arguments.

        By default nothing is kept from one repeat to the next, so that each takes as long as the first.
        """
        return cls(
            Ranker.load(
                bundle,
                variant=variant,
                provider=provider,
                threads=threads,
                sessions=sessions,
                micro_batch_tokens=micro_batch_tokens,
                history_cache_bytes=history_cache_bytes,
                item_cache_bytes=item_cache_bytes,
            ),
            name,
        )

    @property
    def settings(self) -> Mapping[str, object]:
        """The settings that the ranker really runs with."""
        keys = (
            *("architecture", "variant", "precision", "batch_invariant"),
            *("provider", "threads", "sessions", "micro_batch_tokens"),
        )
        return {"bundle": Path(self._info["bundle"]).name} | {key: self._info[key] for key in keys}

    def prepare(self, request: Request) -> None:
        """Warm up. The settings stay those with which the engine was loaded."""
        self._ranker.rank(request.history, request.first(_WARMUP_ITEMS).items)

    def rank(self, request: Request) -> object:
        """Rank the request, and keep how long it spent in each stage."""
        ranking = self._ranker.rank(request.history, request.items)
        self.timings.append(ranking.timings)
        return ranking

    def score(self, request: Request) -> NDArray[np.float32]:
        """Return the items' probabilities in input order, by the logistic function, whatever readout the bundle has.

        They are compared with those of other ways, which have no readout.
        """
        hits = self._ranker.rank(request.history, request.items)
        margins = np.empty(len(hits), np.float32)
        for hit in hits:
            margins[hit.index] = hit.margin
        return Readout().probabilities(margins)

    def close(self) -> None:
        """Close the ranker."""
        self._ranker.close()
