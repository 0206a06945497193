"""Candidate lists: those to train on, and those to measure ranking with.

Lists to train on, of behaviour data: each training purchase of a user is a list of that item and `negatives` sampled
ones. A share of these is drawn by popularity and the rest uniformly, but nothing that the user bought in training.
The history is what the user bought before. Each item that the user met and did not buy (`behavior` 0) is a list of
its own. Held-out purchases are not consulted, not even to leave them out of the negatives: that would be a leak.

Lists to measure on (the protocol of the quality tables): the held-out purchase among items drawn by training
popularity without replacement, none of which the user has any row of.

Of search data the labelled items of a query are a list, and the query is the history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank_export.data.splits import BehaviourSplit, SearchSplit, Split, relevance
from onyxrank_export.data.values import DataError, Fault

TEST_NEGATIVES = 39
"""Sampled items beside the target in a list to measure on."""
TEST_SEED = 1
"""Seed of the lists of the quality tables."""
_QUICK_ROUNDS = 8
"""How often items are drawn with rejection before `Sampler` draws the rest exactly: where a few items have almost all
the weight, rejection might never end."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CandidateList:
    """One list to rank.

    Attributes:
        history: the texts of the history, oldest first; or the query alone.
        items: int32 positions of the candidates in the catalogue.
        labels: float32 relevance of each, 0.0 to 1.0.

    """

    history: tuple[str, ...]
    items: NDArray[np.int32]
    labels: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How training negatives are drawn.

    Attributes:
        negatives: how many negatives are sampled for each purchase.
        popular: share of them drawn by popularity, 0.0 to 1.0; the rest is drawn uniformly from the catalogue.
        popularity_power: by popularity an item is drawn in proportion to its training purchases to this power
            (Mikolov et al. 2013, "Distributed Representations of Words and Phrases", section 2.2). Above 1 the model
            also learns that what everybody bought is seldom the next thing that one shopper buys.
        around: share of purchases whose history is everything else that the user bought in training, later purchases
            too, as in a Cloze task (BERT4Rec, Sun et al. 2019, section 3.4): more and longer histories.
        own_zeros: whether items that a user met with `behavior` 0 are learnt as negatives too.
        cold_starts: share of users whose first purchase is learnt, from an empty history.
        seed: seed of all draws.

    """

    negatives: int = 3
    popular: float = 0.75
    popularity_power: float = 1.0
    around: float = 0.0
    own_zeros: bool = True
    cold_starts: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.negatives < 0:
            raise InvalidInput(f"negatives must be at least 0, not {self.negatives}", field="negatives")
        for name in ("popular", "around", "cold_starts"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInput(f"{name} must be from 0 to 1, not {getattr(self, name)}", field=name)
        if not 0 <= self.popularity_power <= 4:
            raise InvalidInput(
                f"popularity_power must be from 0 to 4, not {self.popularity_power}", field="popularity_power"
            )
        if self.seed < 0:
            raise InvalidInput(f"seed must be at least 0, not {self.seed}", field="seed")


def training_lists(split: Split, sampling: Sampling, epoch: int = 0) -> list[CandidateList]:
    """Draw the lists of the training part for one epoch, each a positive with its sampled negatives.

    Every epoch has the same number of lists, with fresh negatives. A user's own zero is a list of its own.

    Raises:
        DataError: of search data, if no training query has a labelled item.

    """
    if isinstance(split, SearchSplit):
        return _search_lists(split, split.training, "training")
    return list(_training_lists(split, sampling, epoch))


def lists_of_validation(
    split: Split, *, most: int, negatives: int = TEST_NEGATIVES, seed: int = TEST_SEED
) -> list[CandidateList]:
    """Draw the lists of the validation part; if there are more than `most`, the seed chooses which.

    Raises:
        DataError: if there are none.

    """
    if isinstance(split, SearchSplit):
        return _search_lists(split, split.validation, "validation", most=most, seed=seed)
    return _behaviour_lists(split, offset=-2, negatives=negatives, seed=seed, most=most)


def lists_of_test(split: Split, *, most: int | None = None, negatives: int = TEST_NEGATIVES) -> list[CandidateList]:
    """Draw the lists of the test part; if there are more than `most`, a fixed seed chooses which.

    Raises:
        DataError: if there are none.
        InvalidInput: if `most` is less than 1.

    """
    if most is not None and most < 1:
        raise InvalidInput(f"at least 1 list must be ranked, not {most}", field="lists")
    if isinstance(split, SearchSplit):
        return _search_lists(split, split.test, "test", most=most)
    return _behaviour_lists(split, offset=-1, negatives=negatives, seed=TEST_SEED, most=most)


def _titles(split: BehaviourSplit, items: NDArray[np.int32]) -> tuple[str, ...]:
    return tuple(split.data.items[item].title for item in items)


def _training_lists(split: BehaviourSplit, sampling: Sampling, epoch: int) -> Iterator[CandidateList]:
    generator = np.random.default_rng([sampling.seed, epoch])
    cold = np.random.default_rng(sampling.seed).random(len(split.shoppers)) < sampling.cold_starts
    popular = Sampler(_by_popularity(split, sampling.popularity_power), generator)
    uniform = Sampler(np.ones_like(split.popularity), generator)
    sides = np.random.default_rng([sampling.seed, epoch, 1])
    for shopper, learn_cold in zip(split.shoppers, cold, strict=True):
        bought = frozenset(shopper.purchases[: shopper.training].tolist())
        # Every epoch has the same number of lists: which purchases are learnt does not depend on the draws.
        first_around = sampling.around > 0 and not learn_cold and shopper.training > 1
        for position in range(0 if learn_cold or first_around else 1, shopper.training):
            around = first_around if position == 0 else sides.random() < sampling.around
            by_popularity = int(generator.binomial(sampling.negatives, sampling.popular))
            drawn = popular.draw(by_popularity, bought)
            drawn += uniform.draw(sampling.negatives - len(drawn), bought | frozenset(drawn))
            end = shopper.training if around else position
            others = np.concatenate([shopper.purchases[:position], shopper.purchases[position + 1 : end]])
            yield _labelled(_titles(split, others), [int(shopper.purchases[position]), *drawn], positives=1)
        if sampling.own_zeros:
            for item, before in zip(shopper.refused, shopper.refused_after, strict=True):
                if before > 0:
                    yield _labelled(_titles(split, shopper.purchases[:before]), [int(item)], positives=0)


def _by_popularity(split: BehaviourSplit, power: float) -> NDArray[np.float64]:
    """Weigh items by their training purchases to a power: float64 [items]; what nobody bought always weighs 0."""
    return np.where(split.popularity > 0, split.popularity.astype(np.float64) ** power, 0.0)


def _labelled(history: tuple[str, ...], items: list[int], *, positives: int) -> CandidateList:
    labels = np.zeros(len(items), dtype=np.float32)
    labels[:positives] = 1.0
    return CandidateList(history, np.array(items, dtype=np.int32), labels)


def _behaviour_lists(
    split: BehaviourSplit, *, offset: int, negatives: int, seed: int, most: int | None
) -> list[CandidateList]:
    generator = np.random.default_rng(seed)
    tested = [shopper for shopper in split.shoppers if shopper.tested]
    if not tested:
        raise DataError(
            (Fault("interactions", None, "user_id", "no user has the 4 different purchases that a test needs"),)
        )
    tested = _some(tested, most, seed)
    sampler = Sampler(split.popularity, generator)
    lists = []
    for shopper in tested:
        target = len(shopper.purchases) + offset
        drawn = sampler.draw(negatives, shopper.touched)
        history = _titles(split, shopper.purchases[:target])
        row = _labelled(history, [int(shopper.purchases[target]), *drawn], positives=1)
        # The target must not stand first: a tie would then count as a hit.
        order = generator.permutation(len(row.items))
        lists.append(CandidateList(history, row.items[order], row.labels[order]))
    return lists


def _search_lists(
    split: SearchSplit, queries: NDArray[np.int64], part: str, *, most: int | None = None, seed: int = TEST_SEED
) -> list[CandidateList]:
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


def _some(rows: list[T], most: int | None, seed: int) -> list[T]:
    """Choose at most `most` of the rows with the seed; their order stays."""
    if most is None or most >= len(rows):
        return rows
    chosen = np.sort(np.random.default_rng([seed, 1]).choice(len(rows), most, replace=False))
    return [rows[index] for index in chosen]


class Sampler:
    """Draws items by weight without replacement, leaving some out.

    Args:
        weights: [items], any scale; an item of weight 0 is never drawn.
        generator: source of randomness.

    """

    def __init__(self, weights: NDArray[np.int64] | NDArray[np.float64], generator: np.random.Generator) -> None:
        self._weights: NDArray[np.float64] = np.asarray(weights, np.float64)
        self._edges = np.cumsum(self._weights)
        self._available = frozenset(np.flatnonzero(weights).tolist())
        self._generator = generator

    def draw(self, count: int, excluded: frozenset[int]) -> list[int]:
        """Draw `count` different items that are not in `excluded`; fewer if the catalogue has no more."""
        count = min(count, len(self._available) - len(self._available & excluded))
        drawn: dict[int, None] = {}
        for _ in range(_QUICK_ROUNDS):
            if len(drawn) == count:
                break
            points = self._generator.random(2 * count + 8) * self._edges[-1]
            for item in np.searchsorted(self._edges, points, side="right").tolist():
                if item not in excluded and len(drawn) < count:
                    drawn[item] = None
        return [*drawn, *self._draw_exactly(count - len(drawn), excluded.union(drawn))]

    def _draw_exactly(self, count: int, excluded: frozenset[int]) -> list[int]:
        """Draw from the same distribution in one pass, however skewed the weights are.

        This is the Gumbel top-k trick (Kool et al. 2019, "Stochastic Beams and Where to Find Them", section 2).
        """
        if count == 0:
            return []
        left = np.array(sorted(self._available - excluded))
        keys = np.log(self._weights[left]) + self._generator.gumbel(size=len(left))
        drawn: list[int] = left[np.argsort(-keys)[:count]].tolist()
        return drawn
