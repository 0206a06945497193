"""Draws items that a shopper did not buy, by weight and without replacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_QUICK_ROUNDS = 8
"""How often items are drawn with rejection before `Sampler` draws the rest exactly: where a few items have almost all
the weight, rejection might never end."""


class Sampler:
    """Draws items by weight without replacement, leaving some out.

    Args:
        weights: [items], any scale; an item of weight 0 is never drawn.
        generator: source of randomness.
        places: int64 [items], where each item stands among the others when one is drawn; the order of the weights by
            default. Draws by places of ids do not depend on the order of the file.

    """

    def __init__(
        self,
        weights: NDArray[np.int64] | NDArray[np.float64],
        generator: np.random.Generator,
        places: NDArray[np.int64] | None = None,
    ) -> None:
        self._weights: NDArray[np.float64] = np.asarray(weights, np.float64)
        self._order = np.arange(len(weights)) if places is None else np.argsort(places)
        self._edges = np.cumsum(self._weights[self._order])
        self._available = frozenset(np.flatnonzero(weights).tolist())
        self._generator = generator

    def draw(self, count: int, excluded: frozenset[int]) -> list[int]:
        """Draw `count` different items that are not in `excluded`; fewer if the catalogue has no more."""
        count = min(count, len(self._available) - len(self._available & excluded))
        drawn: dict[int, None] = {}
        for _ in range(_QUICK_ROUNDS):
            if len(drawn) == count:
                break
            points = self._generator.random(2 * count + 8) * self._edges[-1]
            for item in self._order[np.searchsorted(self._edges, points, side="right")].tolist():
                if item not in excluded and len(drawn) < count:
                    drawn[item] = None
        return [*drawn, *self._draw_exactly(count - len(drawn), excluded.union(drawn))]

    def _draw_exactly(self, count: int, excluded: frozenset[int]) -> list[int]:
        """Draw from the same distribution in one pass, however skewed the weights are.

        This is the Gumbel top-k trick (Kool et al. 2019, "Stochastic Beams and Where to Find Them", section 2).
        """
        if count == 0:
            return []
        allowed = np.zeros(len(self._weights), bool)
        allowed[list(self._available - excluded)] = True
        left = self._order[allowed[self._order]]
        keys = np.log(self._weights[left]) + self._generator.gumbel(size=len(left))
        drawn: list[int] = left[np.argsort(-keys)[:count]].tolist()
        return drawn
