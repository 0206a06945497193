"""Says how much each term of a score counts, by validation lists.

1. The weights start at those of the conditional logit (McFadden 1974, equation 12), which make what was bought most
   likely.
2. From there each weight is tried larger and smaller, as long as NDCG@10 on the lists rises. The likelihood cares for
   purchases far down the list, which no weights bring up, and pays for them with those that could be at the top.

A dozen numbers are chosen on hundreds of lists, so that what they gain there holds elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.interaction import ItemTerm, NeighbourTerm, Vectors, VectorTerm
from onyxrank.request.apart import first_kept
from onyxrank.request.known import NEW
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.baselines.logit import fit_weights
from onyxrank_export.training.late.vectors import CatalogueVectors

Column: TypeAlias = NDArray[np.floating[Any]]
"""A number for every candidate."""
Term: TypeAlias = VectorTerm | NeighbourTerm | ItemTerm
_FACTORS = (0.0, 0.5, 0.75, 1.33, 2.0)
_ROUNDS = 4
_GAIN = 1e-5
"""The least gain of NDCG@10 that counts."""
CUTOFF = 10


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

    def weigh(self) -> dict[str, float]:
        """Choose a weight for each of the `columns`."""
        names = list(self.columns)
        table = np.stack([self.columns[name] for name in names], axis=1).astype(np.float64)
        spread = table.std(axis=0)
        spread[spread == 0] = 1.0
        table /= spread
        labels = [row.labels for row in self._lists]
        weights = fit_weights(np.split(table, self._bounds[1:-1]), labels)
        weights = self._raised(table, weights)
        return dict(zip(names, (weights / spread).tolist(), strict=True))

    def _raised(self, table: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Try each weight larger and smaller, as long as the quality rises."""
        scores = table @ weights
        highest = self.quality(scores)
        for _ in range(_ROUNDS):
            before = highest
            for place, factor in product(range(len(weights)), _FACTORS):
                moved = scores + table[:, place] * weights[place] * (factor - 1)
                reached = self.quality(moved)
                if reached > highest + _GAIN:
                    weights[place] *= factor
                    scores, highest = moved, reached
            if highest <= before + _GAIN:
                break
        return weights


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
