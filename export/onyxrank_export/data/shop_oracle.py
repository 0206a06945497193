"""The oracle of the demo shop: ranks by what really decides there, which no model can know.

The chance of each product to be bought next follows from how the season was made (`shop_season`): the visit serves
one of the shopper's tastes, or popularity alone. Which taste is known as far as the last purchase tells it, if that
was made in the same visit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.shop import Shop
from onyxrank_export.data.shop_season import BY_POPULARITY, KIND_AGAIN
from onyxrank_export.data.shop_shoppers import Market
from onyxrank_export.data.values import Interactions

_VISIT_SECONDS = 3600


def shop_oracle(
    shop: Shop, data: Interactions, seed: int = 0
) -> Callable[[Sequence[CandidateList]], list[NDArray[np.floating]]]:
    """Score candidates by their chance to be what the shopper buys next: float64 [candidates] of each list.

    Args:
        shop: as it was built.
        data: as it is read from what the shop wrote.
        seed: of the shop.

    """
    market = Market(seed, shop.products)
    products = {product.item.id: place for place, product in enumerate(shop.products)}
    of_items = np.array([products[item.id] for item in data.items])
    customers = {customer.id: customer for customer in shop.shoppers}

    def chances(row: CandidateList) -> NDArray[np.float64]:
        assert row.user is not None
        customer = customers[data.users[row.user]]
        wanted = np.stack([market.wanted(taste, customer.budget) for taste in customer.tastes])
        bought = of_items[row.events]
        tastes = np.ones(len(wanted))
        if len(bought) and row.waited is not None and row.waited < _VISIT_SECONDS:
            # A purchase of every taste's chance 0 was made by popularity, and tells nothing.
            told = wanted[:, bought[-1]] / wanted.sum(axis=1)
            tastes = told if told.any() else tastes
        free = np.ones(len(shop.products))
        free[bought] = 0.0
        again = np.where(np.isin(market.kind, market.kind[bought]), KIND_AGAIN, 1.0)
        weights = wanted * again * free
        by_taste = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        popular = market.popularity * free
        by_chance = BY_POPULARITY * popular / popular.sum()
        chance: NDArray[np.float64] = (1 - BY_POPULARITY) * (tastes / tastes.sum()) @ by_taste + by_chance
        return chance

    return lambda lists: [chances(row)[of_items[row.items]] for row in lists]
