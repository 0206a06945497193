"""Splits data into training, validation and test, so that nothing of the latter two is seen in training.

Behaviour data is split user by user. A user's purchases are taken in order of time, and repeats of an item are
dropped. Of a user with at least `min_purchases` purchases, the last is the test target, the one before it the
validation target, and the rest is training; all purchases of other users are training. Popularity is counted over
training purchases alone.

Search data has no time and no user: whole queries go to one of the three parts, at random with a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data.values import DataError, Fault, Interactions, SearchLabels

MIN_PURCHASES = 4
"""A user needs this many different purchases to be tested: two of history, one validation, one test target."""


@dataclass(frozen=True, slots=True)
class Shopper:
    """What one user did, in order of time.

    Attributes:
        purchases: int32, positions of the items bought, each once; the first `training` of them are training data.
        training: how many purchases belong to training.
        refused: int32, positions of the items met with `behavior` 0 before the validation target.
        refused_after: int64, for each of those, how many purchases came before it.
        touched: every item the user has any row of, in any part: never a sampled test negative.

    """

    purchases: NDArray[np.int32]
    training: int
    refused: NDArray[np.int32]
    refused_after: NDArray[np.int64]
    touched: frozenset[int]

    @property
    def tested(self) -> bool:
        """Whether the user has a validation and a test target."""
        return self.training < len(self.purchases)


@dataclass(frozen=True, slots=True)
class BehaviourSplit:
    """The parts of one behaviour data set.

    Attributes:
        data: the interactions split.
        shoppers: one per user, in the order of ``data.users``.
        popularity: int64 [items], training purchases of each item.

    """

    data: Interactions
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


def split_data(data: Interactions | SearchLabels) -> Split:
    """Split behaviour data or search data.

    Raises:
        DataError: if all labels of search data are the same.

    """
    return split_behaviour(data) if isinstance(data, Interactions) else split_search(data)


def split_behaviour(data: Interactions, min_purchases: int = MIN_PURCHASES) -> BehaviourSplit:
    """Split interactions by time, user by user; users with fewer than `min_purchases` purchases are not tested."""
    order = np.argsort(data.user, kind="stable")
    bounds = np.searchsorted(data.user[order], np.arange(len(data.users) + 1))
    shoppers = tuple(
        _shopper(data.item[rows], data.behavior[rows] == 1, min_purchases) for rows in np.split(order, bounds[1:-1])
    )
    popularity = np.zeros(len(data.items), dtype=np.int64)
    for shopper in shoppers:
        popularity[shopper.purchases[: shopper.training]] += 1
    return BehaviourSplit(data, shoppers, popularity)


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


def _shopper(items: NDArray[np.int32], bought: NDArray[np.bool_], min_purchases: int) -> Shopper:
    positive_rows = np.flatnonzero(bought)
    _, first = np.unique(items[positive_rows], return_index=True)
    rows = positive_rows[np.sort(first)]
    purchases = items[rows]
    training = len(purchases) - 2 if len(purchases) >= max(min_purchases, 3) else len(purchases)
    end = rows[training] if training < len(rows) else len(items)
    refused_rows = np.flatnonzero(~bought[:end])
    known = set(purchases[:training].tolist())
    refused_rows = np.array([row for row in refused_rows if int(items[row]) not in known], dtype=np.int64)
    return Shopper(
        purchases=purchases,
        training=training,
        refused=items[refused_rows],
        refused_after=np.searchsorted(rows, refused_rows),
        touched=frozenset(items.tolist()),
    )
