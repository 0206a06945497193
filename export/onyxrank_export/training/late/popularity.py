"""Item terms: how often an item was bought, how often lately, and whether at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.interaction import ItemTerm
from onyxrank_export.data.splits import BehaviourSplit, Split

_DAY = 86_400
HALF_LIVES = (10.0, 30.0, 90.0)
"""Days after which a purchase counts half in what was bought lately."""


def item_terms(split: Split, known: NDArray[np.int32]) -> dict[str, list[ItemTerm]]:
    """Make item terms of weight 1, by name, in the settings of which validation lists choose one.

    Args:
        split: the data; its training purchases are counted.
        known: int32 [known items], positions in the catalogue of the items that terms know.

    """
    counts = split.popularity[known].astype(np.float32)
    terms = {
        "popularity": [_logarithm(counts)],
        "novelty": [ItemTerm(weight=1.0, values=np.zeros(len(known), np.float32), new=1.0)],
    }
    lately = _lately(split) if isinstance(split, BehaviourSplit) else []
    if lately:
        terms["trend"] = [_logarithm(each[known]) for each in lately]
    return terms


def _logarithm(counts: NDArray[np.float32]) -> ItemTerm:
    """The logarithm of counts; what nobody bought yet counts as an item of the middle, since nothing speaks of it."""
    values = np.log1p(counts)
    return ItemTerm(weight=1.0, values=values, new=float(values.mean()) if len(values) else 0.0)


def _lately(split: BehaviourSplit) -> list[NDArray[np.float32]]:
    """Count training purchases by their age when training ends, for each half-life; none where there are no times."""
    dated = [
        (shopper.purchases[: shopper.training], shopper.times[: shopper.training])
        for shopper in split.shoppers
        if shopper.times is not None
    ]
    if not dated:
        return []
    items, times = (np.concatenate(column) for column in zip(*dated, strict=True))
    days = (times.max(initial=0) - times) / _DAY
    return [
        np.bincount(items, 0.5 ** (days / half), minlength=len(split.popularity)).astype(np.float32)
        for half in HALF_LIVES
    ]
