"""The score of late interaction: from the vectors of events and items to margins, term by term.

The margin of an item i after a history of events j is a bias and a weighed sum of terms. The newest event has age 0.

- A vector term compares texts: log Σ_j p_j exp(⟨e_j, v_i⟩ / τ), the log-sum-exp over the events (as MaxSim in Khattab
  and Zaharia 2020, "ColBERT", section 3.3, but smooth), where p_j is the share of (1 + age_j)^-ρ in their sum. The
  vectors are the encoder's, or linear maps of them with a residual for each item that was bought in training.
- A neighbour term adds up what co-purchases say: Σ_j (1 + age_j)^-δ w(j, i), over a sparse matrix of weights.
- An item term is a number of the item, such as log(1 + purchases).

Every term is a sum over events, or has a share for every event, so that a margin can be told event by event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank.request.known import NEW

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Texts as the score reads them.

    Attributes:
        rows: float32 [texts, width], the encoder's unit vectors.
        places: int32 [texts], places among the known items, or `NEW`.

    """

    rows: Floats
    places: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """Linear maps of the encoder's vectors, and residuals of the items that were bought in training.

    Attributes:
        events: float32 [width, width], added to the identity: an event's vector is ``e + e @ events``.
        items: float32 [width, width], likewise for items.
        event_residuals: float32 [known items, width], added where the event is a known item.
        item_residuals: float32 [known items, width], added where the item is known.

    """

    events: Floats
    items: Floats
    event_residuals: Floats
    item_residuals: Floats

    def products(self, events: Vectors, items: Vectors) -> Floats:
        """Multiply the mapped vectors of events with those of items: float32 [events, items].

        The map of the items is applied to the events instead, which are far fewer: ⟨e, v + v B + b⟩ = ⟨e + e Bᵀ, v⟩ +
        ⟨e, b⟩.
        """
        mapped = events.rows + events.rows @ self.events
        known = events.places != NEW
        mapped[known] += self.event_residuals[events.places[known]]
        products: Floats = (mapped + mapped @ self.items.T) @ items.rows.T
        known = items.places != NEW
        products[:, known] += mapped @ self.item_residuals[items.places[known]].T
        return products


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorTerm:
    """Compares the vectors of events and items.

    Attributes:
        weight: weight of the term in the margin.
        temperature: τ, which cosines are divided by.
        recency: ρ, how fast events count less with their age; 0 for not at all.
        center: what the log-sum-exp is on average, which is subtracted from it: the term is 0 for an item that is as
            close to the history as any, as it is without a history.
        maps: what is made of the encoder's vectors first; None to compare these themselves.

    """

    weight: float
    temperature: float
    recency: float
    center: float = 0.0
    maps: Maps | None = None

    def shares(self, events: Vectors, items: Vectors) -> Floats:
        """Say what each event adds to the weighed term of each item: float32 [events, items]."""
        logits = self._logits(events, items)
        top = logits.max(axis=0)
        chances = np.exp(logits - top)
        total = chances.sum(axis=0)
        return np.asarray(self.weight * (np.log(total) + top - self.center) * (chances / total), np.float32)

    def amounts(self, events: Vectors, items: Vectors) -> Floats:
        """Compute the weighed term of each item: float32 [items]; there is one event at least."""
        logits = self._logits(events, items)
        top = logits.max(axis=0)
        return np.asarray(self.weight * (np.log(np.exp(logits - top).sum(axis=0)) + top - self.center), np.float32)

    def _logits(self, events: Vectors, items: Vectors) -> Floats:
        products = events.rows @ items.rows.T if self.maps is None else self.maps.products(events, items)
        counts = _by_age(len(events.rows), self.recency)
        logits: Floats = products / np.float32(self.temperature) + np.log(counts / counts.sum())[:, None]
        return logits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeighbourTerm:
    """Adds up what known events say of known items, by a sparse matrix of weights in rows.

    Attributes:
        weight: weight of the term in the margin.
        recency: δ, how fast events count less with their age; 0 for not at all.
        starts: int64 [known items + 1], where the row of each event's item begins.
        places: int32 [weights], the known item that each weight is for; no item twice in a row.
        weights: float16 or float32 [weights].

    """

    weight: float
    recency: float
    starts: NDArray[np.int64]
    places: NDArray[np.int32]
    weights: NDArray[np.floating]

    def shares(self, events: NDArray[np.int32], items: NDArray[np.int32]) -> Floats:
        """Say what each event adds to the weighed term of each item: float32 [events, items].

        Args:
            events: int32 [events], places of the events among the known items, or `NEW`.
            items: int32 [items], places of the items likewise.

        """
        counts = _by_age(len(events), self.recency)
        return np.stack([self._said(events[[event]], counts[[event]], items) for event in range(len(events))])

    def amounts(self, events: NDArray[np.int32], items: NDArray[np.int32]) -> Floats:
        """Compute the weighed term of each item, float32 [items], of the arguments of `shares`."""
        return self._said(events, _by_age(len(events), self.recency), items)

    def _said(self, events: NDArray[np.int32], counts: Floats, items: NDArray[np.int32]) -> Floats:
        told = events != NEW
        first, last = self.starts[events[told]], self.starts[events[told] + 1]
        rows = np.concatenate([np.zeros(0, np.int64), *map(np.arange, first, last)])
        weights = self.weights[rows] * np.repeat(counts[told], last - first)
        # One place more than there are known items stays 0: that is where `NEW`, -1, looks.
        sums = np.bincount(self.places[rows], weights, minlength=len(self.starts))
        return np.asarray(self.weight * sums[items], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemTerm:
    """What is known of an item whatever the history is, such as its popularity.

    Attributes:
        weight: weight of the term in the margin.
        values: float32 [known items].
        new: the value of an item that is not known.

    """

    weight: float
    values: Floats
    new: float

    def amounts(self, items: NDArray[np.int32]) -> Floats:
        """Compute the weighed term of each item: float32 [items], of their places among the known items or `NEW`."""
        known = items != NEW
        amounts = np.full(len(items), self.weight * self.new, np.float32)
        amounts[known] = self.weight * self.values[items[known]]
        return amounts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interaction:
    """The whole score. Safe to share between threads.

    Attributes:
        known: how many items it knows.
        vectors: vector terms by name.
        neighbours: neighbour terms by name.
        items: item terms by name.
        bias: what every margin begins with.

    """

    known: int
    vectors: Mapping[str, VectorTerm]
    neighbours: Mapping[str, NeighbourTerm] = field(default_factory=dict)
    items: Mapping[str, ItemTerm] = field(default_factory=dict)
    bias: float = 0.0

    def __post_init__(self) -> None:
        sizes = {name: len(term.starts) - 1 for name, term in self.neighbours.items()}
        sizes |= {name: len(item.values) for name, item in self.items.items()}
        sizes |= {name: len(each.maps.item_residuals) for name, each in self.vectors.items() if each.maps is not None}
        for name, size in sizes.items():
            if size != self.known:
                raise InvalidInput(
                    f"the term '{name}' is of {size} known items, not {self.known}", field="interaction"
                )
        for name, vector in self.vectors.items():
            if not vector.temperature > 0:
                raise InvalidInput(f"the temperature of the term '{name}' must be above 0", field="interaction")

    def margins(self, events: Vectors, items: Vectors) -> Floats:
        """Compute the margins of items after a history: float32 [items].

        Args:
            events: the history, oldest first; there may be none.
            items: the candidates.

        """
        margins = np.full(len(items.rows), self.bias, np.float32)
        for item in self.items.values():
            margins += item.amounts(items.places)
        if len(events.rows):
            for vector in self.vectors.values():
                margins += vector.amounts(events, items)
            for neighbour in self.neighbours.values():
                margins += neighbour.amounts(events.places, items.places)
        return margins

    def by_event(self, events: Vectors, items: Vectors) -> dict[str, Floats]:
        """Say what each event adds to each margin, by the name of the term: float32 [events, items] each."""
        if not len(events.rows):
            return {}
        told = {name: vector.shares(events, items) for name, vector in self.vectors.items()}
        return told | {
            name: neighbour.shares(events.places, items.places) for name, neighbour in self.neighbours.items()
        }

    def by_item(self, items: Vectors) -> dict[str, Floats]:
        """Say what each margin gets whatever the history is, by the name of the term: float32 [items] each."""
        told = {name: item.amounts(items.places) for name, item in self.items.items()}
        return told | {"prior": np.full(len(items.rows), self.bias, np.float32)}


def _by_age(events: int, power: float) -> Floats:
    """How much each event counts by its age alone, (1 + age)^-power: float32 [events], oldest first."""
    return (np.arange(events, 0, -1, dtype=np.float32) ** np.float32(-power)).astype(np.float32)
