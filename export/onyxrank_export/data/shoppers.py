"""What each user did, and which of it is held out.

Purchases of one user with the same time are one basket. A basket is held out whole: what was bought in the same
second would give the rest of it away. Repeats of an item are dropped, so that a held-out purchase is always of
something that the user did not have.

Three ways to hold out (`SPLITS`):

- ``last``: a user's last basket is test, the basket before it validation. A user with two baskets has no validation.
- ``time``: one cut in time for all users. The last tenth of the interactions is test, the tenth before it is
  validation, the rest is training, so that nothing is learnt from what came later than a test purchase.
- ``last-item``: a user's last purchase is test and the one before it validation, even of the same basket. Figures of
  older versions were measured so.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank.request.items import Item
from onyxrank_export.data.values import Interactions

MIN_PURCHASES = 4
"""A user needs this many different purchases to be tested by ``last`` and ``last-item``."""
HELD_OUT = 0.1
"""Share of the interactions that ``time`` holds out for test, and again for validation."""

Range: TypeAlias = tuple[int, int]
"""A held-out basket: its first purchase and the one after its last, as positions in a user's purchases."""


@dataclass(frozen=True, slots=True)
class Shopper:
    """What one user did, in order of time.

    Attributes:
        purchases: int32, positions of the items bought, each once; the first `training` of them are training data.
        times: int64 [purchases], seconds since 1970; None where the data has no time.
        training: how many purchases belong to training.
        validation: the baskets held out for validation; what came before a basket is its history.
        test: the baskets held out for test, likewise.
        refused: int32, positions of the items met with `behavior` 0 while training lasted.
        refused_after: int64, for each of those, how many purchases came before it.
        touched: every item the user has any row of, in any part: never a sampled negative to measure with.

    """

    purchases: NDArray[np.int32]
    times: NDArray[np.int64] | None
    training: int
    validation: tuple[Range, ...]
    test: tuple[Range, ...]
    refused: NDArray[np.int32]
    refused_after: NDArray[np.int64]
    touched: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What becomes of one user's purchases.

    Attributes:
        training: how many purchases belong to training.
        validation: the baskets of validation.
        test: the baskets of test.
        ends: the time at which the user's training ends; None if all of it is training.

    """

    training: int
    validation: tuple[Range, ...] = ()
    test: tuple[Range, ...] = ()
    ends: int | None = None


_Way: TypeAlias = Callable[[list[Range], NDArray[np.int64]], _Parts]
"""Holds out of one user, of whom it gets the baskets and the times of the purchases."""


def shoppers_of(data: Interactions, split: str) -> tuple[Shopper, ...]:
    """Split interactions user by user, in the order of ``data.users``.

    Args:
        data: the interactions.
        split: one of `SPLITS`.

    """
    way = _WAYS[split](data)
    order = np.arange(len(data.user))
    if split != "last-item" and data.timestamp is not None:  # `last-item` takes a basket in the order of the file
        order = np.lexsort((places_by_id(data.items)[data.item], data.timestamp))
    rows = order[np.argsort(data.user[order], kind="stable")]
    bounds = np.searchsorted(data.user[rows], np.arange(len(data.users) + 1))
    return tuple(_shopper(data, mine, way) for mine in np.split(rows, bounds[1:-1]))


def _last_basket(data: Interactions) -> _Way:
    def hold_out(baskets: list[Range], times: NDArray[np.int64]) -> _Parts:
        if len(times) < MIN_PURCHASES or len(baskets) < 2:
            return _Parts(len(times))
        *_, before, last = baskets
        validation = (before,) if len(baskets) > 2 else ()
        training = (validation or (last,))[0][0]
        return _Parts(training, validation, (last,), int(times[training]))

    return hold_out


def _last_item(data: Interactions) -> _Way:
    def hold_out(baskets: list[Range], times: NDArray[np.int64]) -> _Parts:
        count = len(times)
        if count < MIN_PURCHASES:
            return _Parts(count)
        return _Parts(count - 2, ((count - 2, count - 1),), ((count - 1, count),), int(times[count - 2]))

    return hold_out


def _by_time(data: Interactions) -> _Way:
    clock = np.sort(_clock(data))
    validation_from, test_from = (
        int(clock[min(int(share * len(clock)), len(clock) - 1)]) if len(clock) else 0
        for share in (1 - 2 * HELD_OUT, 1 - HELD_OUT)
    )

    def hold_out(baskets: list[Range], times: NDArray[np.int64]) -> _Parts:
        known = [basket for basket in baskets if basket[0] > 0]  # a first basket has no history to rank by
        validation = tuple(basket for basket in known if validation_from <= times[basket[0]] < test_from)
        test = tuple(basket for basket in known if times[basket[0]] >= test_from)
        return _Parts(int(np.searchsorted(times, validation_from)), validation, test, validation_from)

    return hold_out


_WAYS: dict[str, Callable[[Interactions], _Way]] = {
    "last": _last_basket,
    "time": _by_time,
    "last-item": _last_item,
}
SPLITS = tuple(_WAYS)
"""Names of the ways to hold out."""
WHOLE_BASKETS = ("last", "time")
"""Those that hold baskets out whole."""


def _clock(data: Interactions) -> NDArray[np.int64]:
    """The time of every row: int64 [n]. Without timestamps the row order is the order of time."""
    return np.arange(len(data.user), dtype=np.int64) if data.timestamp is None else data.timestamp


def places_by_id(entries: Sequence[Item]) -> NDArray[np.int64]:
    """The place of each item among all ids in order: int64 [items]. It does not depend on the order of the file."""
    places = np.empty(len(entries), np.int64)
    places[sorted(range(len(entries)), key=lambda item: entries[item].id)] = np.arange(len(entries))
    return places


def _shopper(data: Interactions, mine: NDArray[np.intp], way: _Way) -> Shopper:
    """Make the shopper of some rows, which are in order of time."""
    items, bought, clock = data.item[mine], data.behavior[mine] == 1, _clock(data)[mine]
    positive_rows = np.flatnonzero(bought)
    _, first = np.unique(items[positive_rows], return_index=True)
    rows = positive_rows[np.sort(first)]
    purchases, times = items[rows], clock[rows]
    parts = way(_baskets(times), times)
    early = ~bought if parts.ends is None else ~bought & (clock < parts.ends)
    refused = np.flatnonzero(early & ~np.isin(items, purchases[: parts.training]))
    return Shopper(
        purchases=purchases,
        times=None if data.timestamp is None else times,
        training=parts.training,
        validation=parts.validation,
        test=parts.test,
        refused=items[refused],
        refused_after=np.searchsorted(rows, refused),
        touched=frozenset(items.tolist()),
    )


def _baskets(times: NDArray[np.int64]) -> list[Range]:
    """Group purchases of the same time, which follow each other."""
    edges = [0, *(np.flatnonzero(np.diff(times)) + 1).tolist(), len(times)]
    return list(pairwise(edges)) if len(times) else []
