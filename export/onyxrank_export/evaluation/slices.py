"""Which lists are of one kind: a row of the table for each.

By how long the history is, by how often the purchase was bought in training, and by how long the shopper was away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data.lists import CandidateList

_DAY = 86_400
_LENGTHS = (("1 to 2 events", 1, 2), ("3 to 5 events", 3, 5), ("6 to 10 events", 6, 10), ("over 10 events", 11, None))
_TIMES = (("within a day", -1, _DAY), ("within a week", _DAY, 7 * _DAY), ("within a month", 7 * _DAY, 30 * _DAY))


def slices(lists: Sequence[CandidateList], popularity: NDArray[np.int64] | None) -> dict[str, NDArray[np.bool_]]:
    """Say of each list whether it belongs to a slice; slices without a list are left out.

    The purchase of a list with several is that bought least in training. It is frequent if it is among the most
    bought items that make up half of all training purchases, and else rare.

    Args:
        lists: the lists.
        popularity: int64 [items], training purchases; None for search data, which has no slices.

    Returns:
        bool [lists] by the name of the slice.

    """
    if popularity is None:
        return {}
    events, bought, waited = [], [], []
    for row in lists:
        events.append(len(row.events))
        bought.append(int(popularity[row.items[row.labels > 0]].min()))
        waited.append(-1 if row.waited is None else row.waited)
    length, often, time = np.array(events), np.array(bought), np.array(waited)
    frequent = frequent_from(popularity)
    named = {f"history: {name}": (length >= low) & (length <= (high or length.max())) for name, low, high in _LENGTHS}
    named |= {
        "purchase: never bought in training": often == 0,
        "purchase: rare": (often > 0) & (often < frequent),
        "purchase: frequent": often >= frequent,
    }
    named |= {f"last event: {name}": (time > low) & (time <= high) & (time >= 0) for name, low, high in _TIMES}
    named["last event: longer ago"] = time > _TIMES[-1][2]
    return {name: chosen for name, chosen in named.items() if chosen.any()}


def frequent_from(popularity: NDArray[np.int64]) -> int:
    """The training purchases from which on an item is frequent."""
    descending = np.sort(popularity)[::-1]
    half = int(np.searchsorted(np.cumsum(descending), descending.sum() / 2))
    return max(1, int(descending[half]))
