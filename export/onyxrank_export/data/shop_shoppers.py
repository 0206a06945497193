"""The shoppers of the demo shop: what they like, and how much they want each product.

1. A shopper has a budget and one to three tastes: a theme, a favourite brand in its department, a colour.
2. For a taste, products of its theme are wanted most, those of the near theme and of the rest of the department a
   little. Products dearer or cheaper than the budget are rarely wanted; those of the favourite brand and colour more.
3. Products of the theme that are off the budget, or of another brand and another colour, are looked at and left.
4. All these weights are multiplied by popularity, which has a long tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data._dice import Dice
from onyxrank_export.data.shop_catalogue import Product
from onyxrank_export.data.shop_words import Department, Theme, vocabulary

_BUDGETS = np.array([0.35, 0.4, 0.25])
_TASTE_COUNTS = np.array([0.45, 0.4, 0.15])
_LEVEL_FIT = np.array([1.0, 0.15, 0.02])
_NEAR, _SAME_DEPARTMENT = 0.08, 0.015
_BRAND, _COLOUR = 2.0, 2.0


@dataclass(frozen=True, slots=True)
class Taste:
    """One thing a shopper is after: a theme, and the brand and colour preferred in it."""

    theme: str
    brand: str
    colour: str


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer of the demo shop; ``budget`` is the level (0 cheap to 2 dear) that suits."""

    id: str
    budget: int
    tastes: tuple[Taste, ...]


class Market:
    """The products as arrays over their positions, so that weighing them all is a few products of arrays.

    Attributes:
        popularity: float64, shape [products].
        kind: the kind of each product.

    """

    def __init__(self, seed: int, products: Sequence[Product]) -> None:
        ranks = Dice(seed, 1).shuffled(range(len(products)))
        self.popularity = np.array([(rank + 4.0) ** -0.7 for rank in ranks])
        self.kind = np.array([product.kind for product in products])
        self._level = np.array([product.level for product in products])
        self._theme = np.array([product.theme for product in products])
        self._department = np.array([product.department for product in products])
        self._brand = np.array([product.brand for product in products])
        self._colour = np.array([product.colour for product in products])

    def wanted(self, taste: Taste, budget: int) -> NDArray[np.float64]:
        """Return for every product how readily it is bought for a taste: float64, shape [products]."""
        theme, department = _themes()[taste.theme]
        reach = np.where(self._department == department.name, _SAME_DEPARTMENT, 0.0)
        reach[self._theme == theme.near] = _NEAR
        reach[self._theme == theme.name] = 1.0
        brand = np.where(self._brand == taste.brand, _BRAND, 1.0)
        colour = np.where(self._colour == taste.colour, _COLOUR, 1.0)
        wanted: NDArray[np.float64] = (
            self.popularity * reach * _LEVEL_FIT[np.abs(self._level - budget)] * brand * colour
        )
        return wanted

    def declined(self, taste: Taste, budget: int) -> NDArray[np.float64]:
        """Return how readily every product is looked at for a taste, and left: float64, shape [products]."""
        off_budget = self._level != budget
        off_taste = (self._brand != taste.brand) & (self._colour != taste.colour)
        declined: NDArray[np.float64] = (
            self.popularity * (self._theme == taste.theme) * (2.0 * off_budget + off_taste)
        )
        return declined


def draw_customer(dice: Dice, number: int) -> Customer:
    """Make a shopper."""
    budget = dice.weighted(_BUDGETS)
    names = list(_themes())
    tastes = []
    for _ in range(1 + dice.weighted(_TASTE_COUNTS)):
        # The first themes of the vocabulary draw more people than the last.
        name = names.pop(dice.weighted(np.array([1.0 / (20.0 + place) for place in range(len(names))])))
        brands = _themes()[name][1].brands[budget]
        tastes.append(Taste(name, dice.pick(brands), dice.pick(vocabulary().colours)))
    return Customer(f"S{number:05d}", budget, tuple(tastes))


@cache
def _themes() -> dict[str, tuple[Theme, Department]]:
    return {theme.name: (theme, department) for department in vocabulary().departments for theme in department.themes}
