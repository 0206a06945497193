"""Labelled pairs to train on, and candidate lists to measure ranking with.

Training pairs: for every training purchase, the history is what that user bought before it; its negatives are the
items the user met and did not buy (`behavior` 0) and, per purchase, `negatives` sampled ones, a share by popularity
and the rest uniform, never something the user bought in training. What is held out of a user's purchases is not
consulted: that would be a leak.

Candidate lists (protocol of the quality tables): the target among `negatives` items drawn by training popularity
without replacement, never an item the user has any row of. For search: the labelled items of each query.
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
TEST_SEED = 1
_QUICK_ROUNDS = 8
"""Rounds of drawing with rejection; where a few items have almost all the weight, no number of them would do."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CandidateList:
    """One list to rank.

    Attributes:
        history: texts, oldest first.
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
        negatives: sampled negatives per purchase.
        popular: share of them drawn by popularity; the rest is uniform over the catalogue.
        popularity_power: by popularity means in proportion to an item's training purchases to this power (Mikolov et
            al. 2013, section 2.2). Above 1 the model also learns that what everybody bought is seldom the next thing
            that one shopper buys.
        around: share of purchases whose history is all else the user bought in training, later purchases too, as in a
            Cloze task (BERT4Rec, Sun et al. 2019, section 3.4): more and longer histories of the same data.
        own_zeros: whether items met with `behavior` 0 are negatives too.
        cold_starts: share of users whose first purchase is learnt from an empty history.
        seed: of the generator.

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
    """The labelled pairs of the training part for one epoch, by list: a positive with its sampled negatives.

    Every epoch has as many lists and pairs, with fresh negatives. A user's own zero is a list of its own.
    """
    if isinstance(split, SearchSplit):
        return _search_lists(split, split.training, "training")
    return list(_training_lists(split, sampling, epoch))


def lists_of_validation(
    split: Split, *, most: int, negatives: int = TEST_NEGATIVES, seed: int = TEST_SEED
) -> list[CandidateList]:
    """Lists of the validation part, at most `most`, chosen with the seed."""
    if isinstance(split, SearchSplit):
        return _search_lists(split, split.validation, "validation", most=most, seed=seed)
    return _behaviour_lists(split, offset=-2, negatives=negatives, seed=seed, most=most)


def lists_of_test(split: Split, *, most: int | None = None, negatives: int = TEST_NEGATIVES) -> list[CandidateList]:
    """Lists of the test part, under the protocol of the quality tables; at most `most`, chosen with a fixed seed."""
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
        # Every epoch has as many lists: only what a history is made of is drawn anew.
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
    """Weights of the items; what nobody bought in training keeps weight 0 at any power."""
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
    """At most `most` of the rows, chosen with the seed, in their order."""
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
        """`count` different items not in `excluded`; fewer when the catalogue has no more."""
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
        """The same distribution in one go (Gumbel top-k, Kool et al. 2019, section 2), however skewed the weights."""
        if count == 0:
            return []
        left = np.array(sorted(self._available - excluded))
        keys = np.log(self._weights[left]) + self._generator.gumbel(size=len(left))
        drawn: list[int] = left[np.argsort(-keys)[:count]].tolist()
        return drawn
