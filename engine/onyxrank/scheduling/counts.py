"""What a scheduler counts: what became of its calls, and how fast its last runs were."""

from __future__ import annotations

from dataclasses import dataclass

_MEMORY = 0.95
"""What a run still counts for in the speed after each further run: about the last 20 matter."""


@dataclass(slots=True)
class Counts:
    """What became of the calls so far.

    Attributes:
        admitted: calls that went into the queue.
        refused: calls that found no room.
        expired: calls whose deadline passed.
        cancelled: calls that their caller gave up.
        runs: micro-batches run.
        joined: those among them that held rows of several calls.

    """

    admitted: int = 0
    refused: int = 0
    expired: int = 0
    cancelled: int = 0
    runs: int = 0
    joined: int = 0


class Speed:
    """Tokens a second of the last runs, each weighed by its time.

    A history from the cache counts with its tokens and no time, as it counts with them in the queue.
    """

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Count a run of so many tokens, padding included."""
        self._tokens = self._tokens * _MEMORY + tokens
        self._seconds = self._seconds * _MEMORY + seconds

    def tokens_per_second(self, workers: int) -> float | None:
        """What so many runs at once do in a second; None before the first run."""
        return self._tokens / self._seconds * workers if self._seconds > 0 else None
