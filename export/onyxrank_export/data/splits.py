"""Splits data into training, validation and test, so that nothing of the latter two is seen in training.

Behaviour data is split user by user (`shoppers`); popularity is counted over training purchases alone. Search data
has no time and no user: whole queries go to one of the three parts, at random with a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank_export.data.shoppers import SPLITS, Shopper, shoppers_of
from onyxrank_export.data.values import DataError, Fault, Interactions, SearchLabels


@dataclass(frozen=True, slots=True)
class BehaviourSplit:
    """The parts of one behaviour data set.

    Attributes:
        data: the interactions split.
        name: the way it was split, one of `SPLITS`.
        shoppers: one per user, in the order of ``data.users``.
        popularity: int64 [items], training purchases of each item.

    """

    data: Interactions
    name: str
    shoppers: tuple[Shopper, ...]
    popularity: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SearchSplit:
    """The parts of one search data set: positions of queries.

    Attributes:
        data: the labels split.
        training: int64, positions of the training queries.
        validation: int64, positions of the validation queries.
        test: int64, positions of the test queries.
        popularity: int64 [items], how often each item is a training positive.

    """

    data: SearchLabels
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    popularity: NDArray[np.int64]


Split: TypeAlias = BehaviourSplit | SearchSplit


def split_data(data: Interactions | SearchLabels, split: str = "last") -> Split:
    """Split behaviour data one of the `SPLITS`, or search data, of which there is only one way.

    Raises:
        DataError: if all labels of search data are the same.
        InvalidInput: if there is no such split.

    """
    return split_behaviour(data, split) if isinstance(data, Interactions) else split_search(data)


def split_behaviour(data: Interactions, split: str = "last") -> BehaviourSplit:
    """Split interactions user by user.

    Raises:
        InvalidInput: if there is no such split.

    """
    if split not in SPLITS:
        raise InvalidInput(f"split must be one of {', '.join(SPLITS)}, not '{split}'", field="split")
    shoppers = shoppers_of(data, split)
    popularity = np.zeros(len(data.items), dtype=np.int64)
    for shopper in shoppers:
        popularity[shopper.purchases[: shopper.training]] += 1
    return BehaviourSplit(data, split, shoppers, popularity)


def split_search(data: SearchLabels, seed: int = 1, held_out: float = 0.1) -> SearchSplit:
    """Split queries at random: `held_out` of them for validation and as many for test.

    Raises:
        DataError: if all labels are the same.

    """
    if len(data.label) and data.label.min() == data.label.max():
        raise DataError((Fault("labels", None, "label", "all are the same: nothing says which items fit better"),))
    order = np.random.default_rng(seed).permutation(len(data.queries))
    size = max(1, round(held_out * len(order)))
    test, validation, training = order[:size], order[size : 2 * size], order[2 * size :]
    positive = np.isin(data.query, training) & (relevance(data.label) >= 0.5)
    popularity = np.bincount(data.item[positive], minlength=len(data.items)).astype(np.int64)
    return SearchSplit(data, np.sort(training), np.sort(validation), np.sort(test), popularity)


def relevance(label: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale graded labels to [0, 1], linearly between the smallest and the largest grade: float32 [n]."""
    low, high = float(label.min()), float(label.max())
    span = high - low or 1.0
    return ((label - low) / span).astype(np.float32)
