"""What the peers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

BATCHES = (4, 8, 16, 32, 64)
"""The batch sizes that are tried."""


class Batched:
    """A peer made of a callable ``(query, texts, batch size) -> scores``.

    Args:
        score: the callable.
        settings: what it runs with.
        choices: batch sizes to try.

    """

    def __init__(
        self,
        score: Callable[[str, Sequence[str], int], Sequence[float]],
        settings: dict[str, object],
        choices: Sequence[int] = BATCHES,
    ) -> None:
        self._score = score
        self._batch = choices[0] if choices else 0
        self.settings = settings
        self.choices = choices

    def use(self, choice: int) -> None:
        """Go on with a batch size."""
        self._batch = choice

    def score(self, query: str, texts: Sequence[str], request: object) -> Sequence[float]:
        """Return scores in input order."""
        return self._score(query, texts, self._batch)


def versions(*packages: str) -> str:
    """Name packages with their versions."""
    return ", ".join(f"{package} {version(package)}" for package in packages)
