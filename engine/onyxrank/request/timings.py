"""Measures how long each stage of a call takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Stage = Literal["tokenize", "queue", "history", "batch", "run", "rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds of wall time that each stage of one call took; the requests of one call share them.

    Attributes:
        tokenize: seconds in which the input was checked and tokenized.
        queue: seconds in which the call waited for other calls or for a thread.
        history: seconds in which the keys and values of histories were computed (shared-history only). It is 0 where
            they were in memory.
        batch: seconds in which micro-batches were planned and padded.
        run: seconds inside the sessions that score items, or encode texts.
        rank: seconds in which probabilities were made of the margins and the items were sorted; with late-interaction
            also those in which vectors were combined.

    """

    tokenize: float = 0.0
    queue: float = 0.0
    history: float = 0.0
    batch: float = 0.0
    run: float = 0.0
    rank: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of all stages together."""
        return self.tokenize + self.queue + self.history + self.batch + self.run + self.rank

    def as_record(self) -> dict[str, float]:
        """Return the seconds of each stage as a plain dict, for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class Stopwatch:
    """Adds up the seconds of each stage of one call. Not for sharing between threads without a lock."""

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = {}

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: Stage, seconds: float) -> None:
        """Add seconds to a stage."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def take(self, other: Stopwatch, share: float = 1.0) -> None:
        """Add the seconds of another stopwatch, multiplied by `share`."""
        for name, seconds in other._seconds.items():
            self.add(name, seconds * share)

    def read(self) -> Timings:
        """Return the seconds that have been added so far."""
        return Timings(**self._seconds)
