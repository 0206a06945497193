"""Cuts the lists of a sample if they are too long for the budget, so that every setting can have its turns.

The time of a request grows with the number of its items, so shorter lists tell fast settings from slow ones too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from onyxrank.request.token_ids import EncodedRequest

FEWEST = 16
"""Least number of items to which a list is cut. Two micro-batches of cross hold as many."""


def affordable(
    requests: Sequence[EncodedRequest],
    score: Callable[[EncodedRequest], object],
    turns: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[EncodedRequest]:
    """Return the requests, with all lists cut by the same share if they would otherwise take too long.

    Args:
        requests: the requests, at least one; the last is scored to estimate the time of an item.
        score: function that scores a request under some setting.
        turns: how many times all the requests are to be scored.
        seconds: how long all turns together may take.
        clock: function that returns the time in seconds.

    """
    tried = first_items(requests[-1], FEWEST)
    score(first_items(tried, 1))  # a first run also prepares the session, which must not count as an item's time
    began = clock()
    score(tried)
    per_item = (clock() - began) / len(tried.items)
    needed = turns * per_item * sum(len(request.items) for request in requests)
    if needed <= seconds:
        return list(requests)
    return [first_items(each, max(FEWEST, int(len(each.items) * seconds / needed))) for each in requests]


def first_items(request: EncodedRequest, count: int) -> EncodedRequest:
    """Return a request with at most `count` of its items, the first ones."""
    return request.picked(slice(count))
