"""Where the seconds of one call went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Stage = Literal["tokenize", "queue", "history", "batch", "run", "rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds of wall time per stage of one call; a call that ranks several requests shares one.

    Attributes:
        tokenize: checking the input and making token ids of it.
        queue: waiting, for other requests or for a thread.
        history: the history's keys and values (shared-history only): 0 where they were in memory.
        batch: planning the micro-batches and padding them.
        run: inside the sessions that score items.
        rank: probabilities to a sorted ranking.

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
        """Plain dict of the stages, for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class Stopwatch:
    """Adds up the stages of one call. Belongs to that call; not for sharing between threads."""

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = {}

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Add the time spent in the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: Stage, seconds: float) -> None:
        """Add seconds to a stage."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def take(self, other: Stopwatch, share: float = 1.0) -> None:
        """Add a share of what another one has."""
        for name, seconds in other._seconds.items():
            self.add(name, seconds * share)

    def read(self) -> Timings:
        """Return the seconds so far."""
        return Timings(**self._seconds)
