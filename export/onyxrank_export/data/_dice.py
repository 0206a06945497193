"""Seeded choices that come out the same on every machine and under every version of Python and numpy.

numpy promises stable streams for its bit generators, not for ``Generator.choice`` and the like; hence
everything here is made of the one draw that has stayed the same throughout, the uniform double.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Dice:
    """A stream of choices, named by whole numbers; other names give independent streams."""

    def __init__(self, *name: int) -> None:
        self._uniform = np.random.Generator(np.random.PCG64(list(name))).random

    def chance(self, probability: float) -> bool:
        """Return true with the given probability."""
        return self._uniform() < probability

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high), all alike likely."""
        return low + (high - low) * self._uniform()

    def below(self, bound: int) -> int:
        """Return a whole number from 0 up to but without ``bound``."""
        return int(self._uniform() * bound)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, all alike likely."""
        return options[self.below(len(options))]

    def weighted(self, weights: NDArray[np.float64]) -> int:
        """Return a position, likely in proportion to its weight (shape [n], not negative, some positive)."""
        ends = np.cumsum(weights)
        return int(np.searchsorted(ends, self._uniform() * ends[-1], side="right"))

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """Return the options in a random order."""
        keys = [self._uniform() for _ in options]
        return [options[position] for position in sorted(range(len(options)), key=keys.__getitem__)]
