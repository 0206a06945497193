"""Counts what became of a scheduler's calls, and estimates how fast its last runs were."""

from __future__ import annotations

from dataclasses import dataclass

_DECAY = 0.95
"""Factor by which each run lessens the weight of those before it, so that about the last 20 make the speed."""


@dataclass(slots=True)
class Counts:
    """What became of the calls so far.

    Attributes:
        admitted: number of calls that went into the queue.
        refused: number of calls that found no room in the queue.
        expired: number of calls whose deadline passed before they were done.
        cancelled: number of calls that their callers gave up.
        runs: number of micro-batches that were run.
        joined: number of these micro-batches that held rows of several calls.

    """

    admitted: int = 0
    refused: int = 0
    expired: int = 0
    cancelled: int = 0
    runs: int = 0
    joined: int = 0


class Speed:
    """An estimate of the tokens that are run in a second: an average of the last runs that forgets older ones.

    A history whose state was in the cache counts with its tokens and hardly any time. That is right, since its tokens
    count in the queue too, whose length is divided by this speed.
    """

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Take a run into the average, with its number of tokens, padding included, and its seconds."""
        self._tokens = self._tokens * _DECAY + tokens
        self._seconds = self._seconds * _DECAY + seconds

    def tokens_per_second(self, workers: int) -> float | None:
        """Return the tokens that `workers` runs at a time do in a second, or None before the first run."""
        return self._tokens / self._seconds * workers if self._seconds > 0 else None
