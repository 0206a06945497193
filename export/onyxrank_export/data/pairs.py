"""The lists to train on.

Of behaviour data, each training purchase of a user is a list of that item and `negatives` sampled
ones. A share of these is drawn by popularity and the rest uniformly, but nothing that the user bought in training.
The history is what the user bought before. Each item that the user met and did not buy (`behavior` 0) is a list of
its own. Held-out purchases are not consulted, not even to leave them out of the negatives: that would be a leak.

Of search data the labelled items of a query are a list, and the query is the history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank_export.data.lists import CandidateList, search_lists, titles
from onyxrank_export.data.negatives import Sampler
from onyxrank_export.data.shoppers import places_by_id
from onyxrank_export.data.splits import BehaviourSplit, SearchSplit, Split


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
        return search_lists(split, split.training, "training")
    return list(_training_lists(split, sampling, epoch))


def _training_lists(split: BehaviourSplit, sampling: Sampling, epoch: int) -> Iterator[CandidateList]:
    generator = np.random.default_rng([sampling.seed, epoch])
    cold = np.random.default_rng(sampling.seed).random(len(split.shoppers)) < sampling.cold_starts
    places = places_by_id(split.data.items)
    popular = Sampler(_by_popularity(split, sampling.popularity_power), generator, places)
    uniform = Sampler(np.ones_like(split.popularity), generator, places)
    sides = np.random.default_rng([sampling.seed, epoch, 1])
    users = sorted(range(len(split.shoppers)), key=split.data.users.__getitem__)
    for shopper, learn_cold in zip((split.shoppers[user] for user in users), cold, strict=True):
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
            yield _labelled(split, others, [int(shopper.purchases[position]), *drawn], positives=1)
        if sampling.own_zeros:
            for item, before in zip(shopper.refused, shopper.refused_after, strict=True):
                if before > 0:
                    yield _labelled(split, shopper.purchases[:before], [int(item)], positives=0)


def _by_popularity(split: BehaviourSplit, power: float) -> NDArray[np.float64]:
    """Weigh items by their training purchases to a power: float64 [items]; what nobody bought always weighs 0."""
    return np.where(split.popularity > 0, split.popularity.astype(np.float64) ** power, 0.0)


def _labelled(split: BehaviourSplit, events: NDArray[np.int32], items: list[int], *, positives: int) -> CandidateList:
    labels = np.zeros(len(items), dtype=np.float32)
    labels[:positives] = 1.0
    return CandidateList(titles(split, events), np.array(items, dtype=np.int32), labels, events)
