"""Makes the requests that a bundle carries for `onyxrank tune`: as long as real ones, but of no real shopper.

An event of a history is the title of an item drawn from the catalogue, cut to as many words as a real event has; the
items are drawn from the catalogue too. So the file tells nothing about anybody, yet its texts become tokens as the
shop's texts do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onyxrank.measure.requests import Request
from onyxrank.request.items import Item

_LISTS = (100, 10)
"""How many items the requests have, in turn: those of a page, and those of a widget."""


def sample_requests(
    histories: Sequence[Sequence[str]], items: Sequence[Item], *, count: int = 16, seed: int = 0
) -> list[Request]:
    """Make requests of a catalogue.

    Args:
        histories: real histories, of which only the number of events and of their words is used.
        items: the catalogue.
        count: how many requests to make.
        seed: seed of the draws.

    """
    dice = np.random.default_rng(seed)
    titles = [item.title.split() for item in items]
    requests = []
    for number in range(count):
        events = histories[int(dice.integers(len(histories)))] if histories else ()
        made = []
        for event in events:
            title = titles[int(dice.integers(len(titles)))]
            made.append(" ".join(title[: max(1, len(event.split()))]))
        size = min(_LISTS[number % len(_LISTS)], len(items))
        drawn = dice.choice(len(items), size, replace=False)
        requests.append(Request(tuple(made), tuple(items[index] for index in drawn)))
    return requests
