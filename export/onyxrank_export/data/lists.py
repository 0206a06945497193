"""Lists to rank, and the protocols by which ranking is measured.

A list of behaviour data is what is held out of one shopper, a basket of one purchase or several, among other items.
The history is what the shopper bought before. Three protocols say which other items:

- ``full``: the whole catalogue, but for what the shopper has.
- ``sampled``: items drawn in proportion to their training purchases and one, without replacement; none of which the
  shopper has any row of. The one makes an item possible that nobody bought in training, as a target may be one.
- ``sampled-v1``: the same by training purchases alone. An item that nobody bought in training is then never a
  negative, so that popularity 0 gives a target away; figures of older versions were measured so.

Draws do not depend on the order of the rows, users or items in the files, but by ``sampled-v1``.

Of search data the labelled items of a query are a list, and the query is the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank_export.data.negatives import Sampler
from onyxrank_export.data.shoppers import Range, Shopper, places_by_id
from onyxrank_export.data.splits import BehaviourSplit, SearchSplit, Split, relevance
from onyxrank_export.data.values import DataError, Fault

PROTOCOLS = ("full", "sampled", "sampled-v1")
TEST_NEGATIVES = 39
"""Sampled items beside the purchase in a list to measure on."""
TEST_SEED = 1
"""Seed of the lists of the quality tables."""

T = TypeVar("T")


def _no_events() -> NDArray[np.int32]:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class CandidateList:
    """One list to rank.

    Attributes:
        history: the texts of the history, oldest first; or the query alone.
        items: int32 positions of the candidates in the catalogue.
        labels: float32 relevance of each, 0.0 to 1.0.
        events: int32 positions of the items of the history, oldest first; none for a query.
        waited: seconds from the last event to the purchase; None where the data does not say.
        user: position of the shopper in the data's users; None for a query.

    """

    history: tuple[str, ...]
    items: NDArray[np.int32]
    labels: NDArray[np.float32]
    events: NDArray[np.int32] = field(default_factory=_no_events)
    waited: int | None = None
    user: int | None = None


def lists_of_validation(
    split: Split,
    *,
    most: int,
    negatives: int = TEST_NEGATIVES,
    seed: int = TEST_SEED,
    protocol: str = "sampled",
) -> Sequence[CandidateList]:
    """Draw the lists of the validation part; if there are more than `most`, the seed chooses which.

    Args:
        split: the data in its three parts.
        most: most lists.
        negatives: sampled items of each list, by the sampled protocols.
        seed: seed of all draws.
        protocol: one of `PROTOCOLS`; of search data there is only one.

    Raises:
        DataError: if there are none.
        InvalidInput: if there is no such protocol.

    """
    if isinstance(split, SearchSplit):
        return search_lists(split, split.validation, "validation", most=most, seed=seed)
    return _behaviour_lists(split, "validation", protocol, negatives=negatives, seed=seed, most=most)


def lists_of_test(
    split: Split, *, most: int | None = None, negatives: int = TEST_NEGATIVES, protocol: str = "sampled"
) -> Sequence[CandidateList]:
    """Draw the lists of the test part; if there are more than `most`, a fixed seed chooses which.

    Raises:
        DataError: if there are none.
        InvalidInput: if `most` is less than 1, or there is no such protocol.

    """
    if most is not None and most < 1:
        raise InvalidInput(f"at least 1 list must be ranked, not {most}", field="lists")
    if isinstance(split, SearchSplit):
        return search_lists(split, split.test, "test", most=most)
    return _behaviour_lists(split, "test", protocol, negatives=negatives, seed=TEST_SEED, most=most)


def titles(split: BehaviourSplit, items: NDArray[np.int32]) -> tuple[str, ...]:
    """The titles of items by their positions: what a history of them says."""
    return tuple(split.data.items[item].title for item in items)


@dataclass(frozen=True, slots=True)
class _Case:
    """A held-out basket of a shopper, to be ranked among other items."""

    user: int
    shopper: Shopper
    basket: Range

    @property
    def targets(self) -> NDArray[np.int32]:
        """The items of the basket: int32."""
        return self.shopper.purchases[slice(*self.basket)]

    @property
    def events(self) -> NDArray[np.int32]:
        """The items that were bought before: int32."""
        return self.shopper.purchases[: self.basket[0]]

    def among(self, split: BehaviourSplit, items: NDArray[np.int32]) -> CandidateList:
        """The list of some items, those of the basket among them."""
        start, times = self.basket[0], self.shopper.times
        return CandidateList(
            history=titles(split, self.events),
            items=items,
            labels=np.isin(items, self.targets).astype(np.float32),
            events=self.events,
            waited=None if times is None or start == 0 else int(times[start] - times[start - 1]),
            user=self.user,
        )


def _behaviour_lists(
    split: BehaviourSplit, part: str, protocol: str, *, negatives: int, seed: int, most: int | None
) -> Sequence[CandidateList]:
    if protocol not in PROTOCOLS:
        raise InvalidInput(f"protocol must be one of {', '.join(PROTOCOLS)}, not '{protocol}'", field="protocol")
    by_file = protocol == "sampled-v1"
    users = list(range(len(split.shoppers)))
    if not by_file:
        users.sort(key=split.data.users.__getitem__)
    everyone = [(user, split.shoppers[user]) for user in users]
    cases = [_Case(user, shopper, basket) for user, shopper in everyone for basket in getattr(shopper, part)]
    if not cases:
        raise DataError((Fault("interactions", None, "user_id", _NOBODY[split.name].format(part=part)),))
    nothing_else = DataError((Fault("interactions", None, "item_id", _NOTHING_ELSE.format(part=part)),))
    cases = _some(cases, most, seed)
    if protocol == "full":
        if all(case.basket[1] == len(split.data.items) for case in cases):
            raise nothing_else
        return _FullLists(split, cases)
    generator = np.random.default_rng(seed)
    if by_file:
        sampler = Sampler(split.popularity, generator)
    else:
        sampler = Sampler(split.popularity + 1, generator, places_by_id(split.data.items))
    lists = []
    for case in cases:
        items = np.array([*case.targets, *sampler.draw(negatives, case.shopper.touched)], np.int32)
        # The purchase must not stand first: whoever breaks ties by the order of the input would rank it best.
        lists.append(case.among(split, items[generator.permutation(len(items))]))
    if all(row.labels.all() for row in lists):
        raise nothing_else
    return lists


_NOBODY = {
    "last": "no user has what a {part} needs: 4 different purchases at 2 different times, 3 for a validation",
    "last-item": "no user has the 4 different purchases that a {part} needs",
    "time": "no user bought before and in the tenth of the time that is held out for {part}",
}
"""What is missing where a part is empty, by the way of splitting."""


_NOTHING_ELSE = (
    "no list of the {part} part has an item that its user lacks: there is nothing to rank a purchase among"
)


class _FullLists(Sequence[CandidateList]):
    """The lists of the protocol ``full``, each made when it is asked for: all of them may not fit into memory."""

    def __init__(self, split: BehaviourSplit, cases: Sequence[_Case]) -> None:
        self._split, self._cases = split, cases

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> CandidateList: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[CandidateList]: ...

    def __getitem__(self, index: int | slice) -> CandidateList | Sequence[CandidateList]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        case = self._cases[index]
        items = np.delete(np.arange(len(self._split.data.items), dtype=np.int32), case.events)
        return case.among(self._split, items)


def _some(rows: list[T], most: int | None, seed: int) -> list[T]:
    """Choose at most `most` of the rows with the seed; their order stays."""
    if most is None or most >= len(rows):
        return rows
    chosen = np.sort(np.random.default_rng([seed, 1]).choice(len(rows), most, replace=False))
    return [rows[index] for index in chosen]


def search_lists(
    split: SearchSplit, queries: NDArray[np.int64], part: str, *, most: int | None = None, seed: int = TEST_SEED
) -> list[CandidateList]:
    """The lists of some queries of search data; `part` names them in the error where there is none."""
    data = split.data
    grades = relevance(data.label)
    order = np.argsort(data.query, kind="stable")
    bounds = np.searchsorted(data.query[order], np.arange(len(data.queries) + 1))
    lists = []
    for query in queries:
        rows = order[bounds[query] : bounds[query + 1]]
        if len(rows):
            lists.append(CandidateList((data.queries[query],), data.item[rows], grades[rows]))
    if not lists:
        raise DataError((Fault("labels", None, "query_id", f"too few labelled queries: none for the {part} part"),))
    return _some(lists, most, seed)
