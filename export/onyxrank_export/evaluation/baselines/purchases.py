"""Purchases as sparse matrices, which every baseline that learns from them works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.splits import BehaviourSplit
from onyxrank_export.evaluation.baselines.scorer import Scorer

POWERS = (0.0, 0.25, 0.5, 0.75)
"""Scores are divided by an item's purchases to one of these powers, chosen on validation lists. The larger it is, the
less what everybody buys comes first."""


def purchases_of_training(split: BehaviourSplit) -> csr_matrix:
    """Which user bought which item in training: float32 [users, items] of zeros and ones."""
    return _matrix([shopper.purchases[: shopper.training] for shopper in split.shoppers], len(split.data.items))


def events_of(lists: Sequence[CandidateList], items: int) -> csr_matrix:
    """Which list has which item in its history: float32 [lists, items] of zeros and ones."""
    return _matrix([row.events for row in lists], items)


def scorer_of(
    related: Callable[[csr_matrix], NDArray[np.float32]], popularity: NDArray[np.int64], power: float
) -> Scorer:
    """Score candidates by how they relate to the items of the history, over a power of their purchases.

    Args:
        related: makes of histories, [lists, items], the scores of all items, float32 [lists, items].
        popularity: int64 [items], training purchases.
        power: one of `POWERS`.

    """
    weight = (1.0 / (popularity + 1.0) ** power).astype(np.float32)

    def score(lists: Sequence[CandidateList]) -> list[NDArray[np.floating]]:
        scores: list[NDArray[np.floating]] = []
        for start in range(0, len(lists), _BLOCK):
            block = lists[start : start + _BLOCK]
            everything = related(events_of(block, len(popularity))) * weight
            scores += [everything[place, row.items] for place, row in enumerate(block)]
        return scores

    return score


_BLOCK = 256
"""Lists whose scores of all items are in memory at once."""


def _matrix(rows: Sequence[NDArray[np.int32]], items: int) -> csr_matrix:
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.concatenate([np.zeros(0, np.int32), *rows])
    matrix = csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(rows), items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
