"""Cuts the lists of a sample where they are too long for the budget, so that every setting has its turns.

Time grows with the items of a list, so that a shorter one tells settings apart too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from onyxrank.request.token_ids import EncodedRequest, Ragged

FEWEST = 16
"""Items that a list keeps: what two micro-batches of cross hold."""


def affordable(
    requests: Sequence[EncodedRequest],
    score: Callable[[EncodedRequest], object],
    turns: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[EncodedRequest]:
    """The requests, their lists cut by one share if so many turns of them would take longer.

    Args:
        requests: at least one; the last is tried.
        score: scores a request under some setting.
        turns: of all requests.
        seconds: for all turns.
        clock: gives seconds.

    """
    tried = first_items(requests[-1], FEWEST)
    score(first_items(tried, 1))  # what a first run prepares is not its time
    began = clock()
    score(tried)
    per_item = (clock() - began) / len(tried.items)
    needed = turns * per_item * sum(len(request.items) for request in requests)
    if needed <= seconds:
        return list(requests)
    return [first_items(each, max(FEWEST, int(len(each.items) * seconds / needed))) for each in requests]


def first_items(request: EncodedRequest, count: int) -> EncodedRequest:
    """The request with at most so many of its items."""
    offsets = request.items.offsets[: count + 1]
    return replace(request, items=Ragged(request.items.ids[: offsets[-1]], offsets))
