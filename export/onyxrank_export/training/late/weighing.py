"""Says how much each term of a score counts, by validation lists.

1. The weights start at those of the conditional logit (McFadden 1974, equation 12), which make what was bought most
   likely.
2. From there they climb to the best NDCG, of which a smooth form has a gradient (Qin et al. 2010, "A general
   approximation framework for direct optimization of information retrieval measures", equation 11): the place of a
   purchase is the sum of how likely others are above it. The likelihood cares for purchases far down the list, which
   no weights bring up, and pays for them with those that could be at the top.

Weights stay above 0, but for those of `UNBOUNDED`, and near where they started: so the gain holds on other lists
(benchmarks/NOTES.md).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize
from scipy.special import expit

from onyxrank.architectures.interaction import ItemTerm, NeighbourTerm, Vectors, VectorTerm
from onyxrank.request.apart import first_kept
from onyxrank.request.known import NEW
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.baselines.logit import fit_weights
from onyxrank_export.evaluation.metrics import CUTOFF
from onyxrank_export.training.late.vectors import CatalogueVectors

Column: TypeAlias = NDArray[np.floating[Any]]
"""A number for every candidate."""
Term: TypeAlias = VectorTerm | NeighbourTerm | ItemTerm
UNBOUNDED = ("novelty",)
"""Terms that may count against an item."""
_SOFTNESS = 0.3
"""Difference of two scores, in standard deviations of a term, at which the one is above the other by 73 %."""
_NEARNESS = 1e-3
"""Penalty on the squares of what the weights move."""
_MOST_TARGETS = 2000
"""Most purchases whose places are computed in a step."""
_MOST_STEPS = 60


@dataclass(frozen=True, slots=True)
class Known:
    """A catalogue as a score reads it.

    Attributes:
        vectors: of the catalogue.
        places: int32 [items], each item's place among the known items, or `NEW`.
        texts: float32 [texts, width], unit vectors of texts that are no titles, such as queries.
        of_text: the row in `texts` of each such text.
        history_tokens: how many tokens of a history serving will read.

    """

    vectors: CatalogueVectors
    places: NDArray[np.int32]
    texts: NDArray[np.float32]
    of_text: Mapping[str, int]
    history_tokens: int

    def events(self, row: CandidateList) -> Vectors:
        """The history of a list, as far as serving will read it."""
        if len(row.events) == len(row.history):
            lengths = self.vectors.title_lengths[row.events].tolist()
            events = row.events[first_kept(lengths, self.history_tokens) :]
            return Vectors(self.vectors.titles[events], self.places[events])
        rows = self.texts[[self.of_text[text] for text in row.history]]
        return Vectors(rows, np.full(len(rows), NEW, np.int32))

    def items(self, row: CandidateList) -> Vectors:
        """The candidates of a list."""
        return Vectors(self.vectors.items[row.items], self.places[row.items])


class Features:
    """What each term says of every candidate of some lists, with weight 1; one list stands after the other.

    Args:
        lists: lists with a positive each.
        known: the catalogue.

    Attributes:
        bought: float64 [candidates], 1 for a purchase and 0 for another.
        columns: the terms to weigh, by name.

    """

    def __init__(self, lists: Sequence[CandidateList], known: Known) -> None:
        self._lists, self._known = lists, known
        self._bounds = np.cumsum([0, *(len(row.items) for row in lists)])
        self._gains = [_gains(row.labels) for row in lists]
        self.bought = (np.concatenate([row.labels for row in lists]) >= 0.5).astype(np.float64)
        self.columns: dict[str, Column] = {}

    def of(self, term: Term) -> Column:
        """Compute a term: float32 [candidates]; one that reads the history is 0 where there is none."""
        columns = []
        for row in self._lists:
            events, items = self._known.events(row), self._known.items(row)
            if isinstance(term, ItemTerm):
                columns.append(term.amounts(items.places))
            elif not len(events.rows):
                columns.append(np.zeros(len(row.items), np.float32))
            elif isinstance(term, VectorTerm):
                columns.append(term.amounts(events, items))
            else:
                columns.append(term.amounts(events.places, items.places))
        return np.concatenate(columns)

    def quality(self, scores: Column) -> float:
        """The mean NDCG@10 of scores, float [candidates]; of ties every target has the mean place."""
        rows = np.split(scores, self._bounds[1:-1])
        return float(np.mean([gains.of(row) for gains, row in zip(self._gains, rows, strict=True)]))

    def of_terms(self, names: Iterable[str]) -> Features:
        """The same lists with some of the `columns` alone."""
        fewer = copy.copy(self)
        fewer.columns = {name: self.columns[name] for name in names}
        return fewer

    def weigh(self) -> dict[str, float]:
        """Choose a weight for each of the `columns`."""
        names = list(self.columns)
        table = np.stack([self.columns[name] for name in names], axis=1).astype(np.float64)
        spread = table.std(axis=0)
        spread[spread == 0] = 1.0
        table = (table - table.mean(axis=0)) / spread
        start = fit_weights(np.split(table, self._bounds[1:-1]), [row.labels for row in self._lists])
        # What is weighed together must not rank worse than one term alone.
        ways = [self._climbed(table, start), *np.eye(len(names))]
        best = max(ways, key=lambda weights: self.quality(table @ weights))
        return dict(zip(names, (best / spread).tolist(), strict=True))

    def _climbed(self, table: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raise the smooth NDCG of the weights `start` of a table [candidates, terms]."""
        least = np.array([-np.inf if name in UNBOUNDED else 0.0 for name in self.columns])
        near = np.maximum(start, least)
        targets = self._targets()

        def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scores = table @ weights
            value, gradient = 0.0, np.zeros(len(weights))
            for place, first, last, share in targets:
                above = expit((scores[first:last] - scores[place]) / _SOFTNESS)
                rank = above.sum() - 0.5  # the purchase itself is half above itself
                depth = np.log2(2 + rank)
                value -= share / depth
                push = share / (depth**2 * (2 + rank) * np.log(2) * _SOFTNESS) * above * (1 - above)
                gradient += push @ table[first:last] - push.sum() * table[place]
            away = weights - near
            return value + _NEARNESS * float(away @ away), gradient + 2 * _NEARNESS * away

        options = {"maxiter": _MOST_STEPS}
        found = minimize(loss, near, jac=True, method="L-BFGS-B", bounds=Bounds(least, np.inf), options=options)
        climbed: NDArray[np.float64] = found.x
        return climbed

    def _targets(self) -> list[tuple[int, int, int, float]]:
        """What was bought: its place among all candidates, where its list begins and ends, its share of the mean."""
        found = [
            (int(first + place), int(first), int(last), float(gain / gains.ideal))
            for gains, first, last in zip(self._gains, self._bounds, self._bounds[1:], strict=False)
            for place, gain in zip(gains.places, gains.gains, strict=True)
        ]
        if len(found) > _MOST_TARGETS:
            chosen = np.random.default_rng(0).choice(len(found), _MOST_TARGETS, replace=False)
            found = [found[place] for place in np.sort(chosen)]
        total = sum(share for *_, share in found)
        return [(place, first, last, share / total) for place, first, last, share in found]


@dataclass(frozen=True, slots=True)
class _Gains:
    """What is needed of a list to compute its NDCG@10 many times.

    Attributes:
        places: positions of the candidates that gain something.
        gains: their labels.
        ideal: the discounted gain of the best order.

    """

    places: NDArray[np.intp]
    gains: NDArray[np.float64]
    ideal: float

    def of(self, scores: Column) -> float:
        """NDCG@10 of the list's scores."""
        own = scores[self.places][:, None]
        above = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
        return float(self.gains @ np.where(above < CUTOFF, 1 / np.log2(above + 2), 0.0)) / self.ideal


def _gains(labels: NDArray[np.float32]) -> _Gains:
    places = np.flatnonzero(labels)
    gains = labels[places].astype(np.float64)
    best = np.sort(gains)[::-1][:CUTOFF]
    return _Gains(places, gains, float(best @ (1 / np.log2(np.arange(len(best)) + 2))))
