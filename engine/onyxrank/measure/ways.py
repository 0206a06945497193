"""The ways of ranking that a benchmark compares: a small protocol, and the engine as one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onyxrank.measure.requests import Request
from onyxrank.ranker import Ranker
from onyxrank.request.timings import Timings

Say = Callable[[str], None]

LOOP, BATCHES, BF16 = "reference_loop", "sorted_batches", "sorted_batches_bf16"
EAGER_LABELS = {
    LOOP: "(a) PyTorch, one by one",
    BATCHES: "(b) PyTorch fp32, batches",
    BF16: "(c) PyTorch bf16, batches",
}
"""What the eager ways are called in tables, by their names."""

WEIGHTS = "model.safetensors"
"""The file of a model folder with what PyTorch loads."""
_WARMUP_ITEMS = 16


class Way(Protocol):
    """One implementation with its settings. Texts go in and a sorted ranking comes out, tokenization included."""

    name: str
    """Short, unique among the ways compared."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What it runs with, as JSON values; may differ after `prepare`."""

    def prepare(self, request: Request) -> None:
        """Warm up, and choose the best settings for requests of this size."""

    def rank(self, request: Request) -> object:
        """Rank the request: what is timed."""

    def score(self, request: Request) -> NDArray[np.float32]:
        """Probabilities in input order: what is compared."""

    def close(self) -> None:
        """Free what was loaded."""


EagerFactory = Callable[[Path, int, Say], Iterator[Way]]
"""Loads the eager PyTorch ways of a bundle folder for a number of threads, each when it is asked for the next."""


class EngineWay:
    """The engine with one variant of a bundle.

    Args:
        ranker: loaded for it; closed with it.
        name: what to call it; the variant's name by default.

    Attributes:
        timings: stages of every `rank` so far; whoever reads them clears them.

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
        """Load a variant, by default one that keeps nothing from one repeat to the next; see `Ranker.load`."""
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
        """What the ranker says it really runs with."""
        keys = (
            *("architecture", "variant", "precision", "batch_invariant"),
            *("provider", "threads", "sessions", "micro_batch_tokens"),
        )
        return {"bundle": Path(self._info["bundle"]).name} | {key: self._info[key] for key in keys}

    def prepare(self, request: Request) -> None:
        """Warm up; the settings are those it was loaded with."""
        self._ranker.rank(request.history, request.first(_WARMUP_ITEMS).items)

    def rank(self, request: Request) -> object:
        """Rank the request and keep its timings."""
        ranking = self._ranker.rank(request.history, request.items)
        self.timings.append(ranking.timings)
        return ranking

    def score(self, request: Request) -> NDArray[np.float32]:
        """Probabilities in input order."""
        return self._ranker.score(request.history, request.items)

    def close(self) -> None:
        """Close the ranker."""
        self._ranker.close()
