"""A season in the demo shop: what a shopper buys, looks at, and when.

1. Every visit serves one taste. A purchase is drawn by how much the taste wants each product or, now and then, by
   popularity alone. A kind already bought is seldom bought again: the next purchase is another thing for the pursuit.
2. Products that are looked at and left are drawn half from what the taste declines and half by popularity. None of
   them is bought.
3. Visits are spread over the season, at waking hours; within a visit, looks and purchases are minutes apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data._dice import Dice
from onyxrank_export.data.shop_shoppers import Customer, Market

DAYS = 180
FIRST_SECOND = 1_704_067_200  # midnight of 2024-01-01, UTC

_LEAST_PURCHASES, _MOST_PURCHASES = 6, 15
BY_POPULARITY = 0.1
"""Share of purchases that serve no taste."""
KIND_AGAIN = 0.1
"""How much less readily a kind is bought that the shopper has."""
_LOOKS_LEFT = 0.5
_DAY, _MORNING, _EVENING = 86_400, 7 * 3600, 22 * 3600


@dataclass(frozen=True, slots=True)
class ShopEvent:
    """Something a shopper did.

    Attributes:
        timestamp: seconds since 1970.
        product: position in the catalogue.
        behavior: 1 bought, 0 looked at and left.

    """

    timestamp: int
    product: int
    behavior: int


def live_season(dice: Dice, shopper: Customer, market: Market) -> list[ShopEvent]:
    """Return what a shopper does in a season, in order of time; no product twice."""
    wanted = [market.wanted(taste, shopper.budget) for taste in shopper.tastes]
    declined = [market.declined(taste, shopper.budget) for taste in shopper.tastes]
    count = _LEAST_PURCHASES + dice.below(_MOST_PURCHASES - _LEAST_PURCHASES + 1)
    visits = _visits(dice, count)
    tastes = [dice.below(len(shopper.tastes)) for _ in visits]

    free = np.ones(len(market.popularity))
    again = np.ones(len(market.popularity))
    baskets: list[list[tuple[int, int]]] = []
    for taste, (_, purchases) in zip(tastes, visits, strict=True):
        basket = []
        for _ in range(purchases):
            weights = market.popularity if dice.chance(BY_POPULARITY) else wanted[taste] * again
            bought = _draw(dice, weights * free, market.popularity * free)
            free[bought] = 0.0
            again[market.kind == market.kind[bought]] = KIND_AGAIN
            basket.append((bought, 1))
        baskets.append(basket)

    events = []
    for taste, (start, purchases), basket in zip(tastes, visits, baskets, strict=True):
        for _ in range(purchases + dice.below(2)):
            weights = declined[taste] if dice.chance(_LOOKS_LEFT) else market.popularity
            left = _draw(dice, weights * free, market.popularity * free)
            free[left] = 0.0
            basket.append((left, 0))
        second = start
        for product, behavior in dice.shuffled(basket):
            second += int(dice.between(20, 400))
            events.append(ShopEvent(second, product, behavior))
    return events


def _visits(dice: Dice, purchases: int) -> list[tuple[int, int]]:
    """Return the start (seconds since 1970) and the number of purchases of each visit; one a day at most."""
    sizes = []
    while purchases:
        sizes.append(min(purchases, 1 + dice.below(3)))
        purchases -= sizes[-1]
    days = sorted(dice.shuffled(range(DAYS))[: len(sizes)])
    starts = [FIRST_SECOND + day * _DAY + int(dice.between(_MORNING, _EVENING)) for day in days]
    return list(zip(starts, sizes, strict=True))


def _draw(dice: Dice, weights: NDArray[np.float64], otherwise: NDArray[np.float64]) -> int:
    # A small shop can run out of what a taste wants.
    return dice.weighted(weights if weights.any() else otherwise)
