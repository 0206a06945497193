"""Fits the score of late-interaction to an encoder that has been trained.

1. The catalogue is encoded once.
2. The settings of each kind of term are chosen by NDCG@10 on validation lists of the whole catalogue.
3. Terms are weighed together on the same lists (`weighing`). A term that does not help gets weight 0 and is left out.
4. A slope and a bias make log-odds of the sum (Platt 1999).

Search data has no purchases: there the score is the text's, with popularity.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from torch.nn import Module

from onyxrank.architectures.interaction import Interaction, ItemTerm, NeighbourTerm, VectorTerm
from onyxrank.request.apart import ApartEncoder
from onyxrank.request.known import NEW, KnownItems
from onyxrank.request.token_ids import Ragged
from onyxrank_export.conversion.readout_fit import fitted_line
from onyxrank_export.data.lists import CandidateList, lists_of_validation
from onyxrank_export.data.splits import BehaviourSplit, Split
from onyxrank_export.training.late.maps import learn_maps
from onyxrank_export.training.late.neighbours import neighbour_candidates
from onyxrank_export.training.late.popularity import item_terms
from onyxrank_export.training.late.vectors import CatalogueVectors, catalogue_vectors, text_vectors
from onyxrank_export.training.late.weighing import Features, Known, Term

MOST_LISTS = 1500
"""Most validation lists that weights are chosen on."""
_CHOOSING = 500
"""Most of these lists that the settings of a single term are chosen on."""
_MOST_CANDIDATES = 5000
"""Most candidates of such a list; of a larger catalogue a sample stands beside what was bought."""
_TEMPERATURES, _RECENCIES = (0.03, 0.05, 0.1), (0.0, 1.0, 2.0)
TEXT, RECENT, PROFILE, LEARNED = "text", "recent_text", "profile", "learned"
"""Names of the vector terms: any event, the latest events, the mean of all (a log-sum-exp at so high a temperature
is almost one), and what is learnt."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A score, the items that it knows, and how it did.

    Attributes:
        interaction: the score.
        known: the items that it knows by their ids.
        log: checkpoints of what was learnt: ``epoch``, ``loss``, ``quality``.
        quality: NDCG@10 on the validation lists that it was weighed on, of each term alone and of all together.
        features: what each term says of those lists.
        terms: the terms with weight 1.

    """

    interaction: Interaction
    known: KnownItems
    log: Sequence[dict[str, float]]
    quality: dict[str, float]
    features: Features
    terms: Mapping[str, Term]

    def without(self, names: Collection[str]) -> Interaction:
        """Weigh anew without some terms, to see what they are worth."""
        if not names:
            return self.interaction
        terms = {name: term for name, term in self.terms.items() if name not in names}
        return _weighed(self.features.of_terms(terms), terms, len(self.known))[0]


def known_items(split: Split) -> tuple[KnownItems, NDArray[np.int32]]:
    """The items that were bought in training, and their positions in the catalogue, int32 [known items]."""
    positions = np.flatnonzero(split.popularity).astype(np.int32)
    items = [split.data.items[position] for position in positions]
    return KnownItems.of(items, split.popularity[positions]), positions


def places_in(items: int, positions: NDArray[np.int32]) -> NDArray[np.int32]:
    """The place of each item of a catalogue among the known ones at some positions, or `NEW`: int32 [items]."""
    places = np.full(items, NEW, np.int32)
    places[positions] = np.arange(len(positions))
    return places


def fit_interaction(
    encoder: Module,
    texts: ApartEncoder,
    split: Split,
    lists: Sequence[CandidateList],
    pad_id: int,
    seed: int,
    say: Say = lambda text: None,
) -> Fitted:
    """Fit the whole score.

    Args:
        encoder: the trained encoder.
        texts: makes token ids of texts as serving will.
        split: the data in its three parts.
        lists: the validation lists to choose on, of the whole catalogue, as `validation_lists` gives them.
        pad_id: token id to pad with.
        seed: seed of everything random.
        say: told each step as it begins.

    """
    known, positions = known_items(split)
    say("encoding the catalogue")
    vectors = catalogue_vectors(encoder, texts, split.data.items, pad_id)
    catalogue = _known(encoder, texts, vectors, positions, lists, pad_id)
    features, choosing = Features(lists, catalogue), Features(lists[:: -(-len(lists) // _CHOOSING)], catalogue)
    say("choosing terms")
    chosen: dict[str, Term] = {}
    log: list[dict[str, float]] = []
    for name, term in _terms(vectors, split, positions, choosing, seed, log, say):
        column = features.of(term)
        if isinstance(term, VectorTerm):
            term, column = replace(term, center=float(column.mean())), column - column.mean()
        chosen[name], features.columns[name] = term, column
    quality = {name: features.quality(column) for name, column in features.columns.items()}
    say(f"weighing the terms on {len(lists)} validation lists")
    interaction, quality["all"] = _weighed(features, chosen, len(known))
    return Fitted(interaction, known, log, quality, features, chosen)


def _weighed(features: Features, terms: Mapping[str, Term], known: int) -> tuple[Interaction, float]:
    """Weigh terms, and give the score with its NDCG@10 on the lists that it was weighed on."""
    weights = features.weigh()
    together = np.sum([weights[name] * column for name, column in features.columns.items()], axis=0)
    # A margin is the log-odds of a purchase among the whole catalogue.
    slope, bias = fitted_line(together.astype(np.float64), features.bought)
    weighed = {name: replace(term, weight=slope * weights[name]) for name, term in terms.items() if weights[name]}
    interaction = Interaction(
        known=known,
        vectors={name: term for name, term in weighed.items() if isinstance(term, VectorTerm)},
        neighbours={name: term for name, term in weighed.items() if isinstance(term, NeighbourTerm)},
        items={name: term for name, term in weighed.items() if isinstance(term, ItemTerm)},
        bias=bias,
    )
    return interaction, features.quality(together)


def validation_lists(split: Split, seed: int) -> list[CandidateList]:
    """The validation lists, each of the whole catalogue or of what was bought and a sample of it.

    Raises:
        DataError: if there is none.

    """
    rows = lists_of_validation(split, most=MOST_LISTS, protocol="full")
    generator = np.random.default_rng([seed, 3])
    lists = []
    for row in rows:
        if not row.labels.any():
            continue
        if len(row.items) > _MOST_CANDIDATES:
            drawn = generator.random(len(row.items)) < _MOST_CANDIDATES / len(row.items)
            kept = np.flatnonzero(drawn | (row.labels > 0))
            row = replace(row, items=row.items[kept], labels=row.labels[kept])
        lists.append(row)
    return lists


def _terms(
    vectors: CatalogueVectors,
    split: Split,
    positions: NDArray[np.int32],
    features: Features,
    seed: int,
    log: list[dict[str, float]],
    say: Say,
) -> Iterator[tuple[str, Term]]:
    """Give the terms one by one, each in its best setting."""
    for name, values in item_terms(split, positions).items():
        yield name, _best(values, features)
    plain = [
        VectorTerm(weight=1.0, temperature=temperature, recency=recency)
        for recency, temperature in product(_RECENCIES, _TEMPERATURES)
    ]
    yield TEXT, _best([term for term in plain if not term.recency], features)
    if not isinstance(split, BehaviourSplit):
        return
    yield RECENT, _best([term for term in plain if term.recency], features)
    yield PROFILE, VectorTerm(weight=1.0, temperature=1.0, recency=0.5)
    say("learning maps and residuals")
    yield (
        LEARNED,
        learn_maps(
            vectors, split, positions, lambda term: features.quality(features.of(term)), seed=seed, say=log.append
        ),
    )
    say("counting co-purchases")
    for name, weights in neighbour_candidates(split, positions).items():
        yield name, _best(weights, features)


def _best(terms: Sequence[Term], features: Features) -> Term:
    """The term that alone ranks the validation lists best."""
    if len(terms) == 1:
        return terms[0]
    return max(terms, key=lambda term: features.quality(features.of(term)))


def _known(
    encoder: Module,
    texts: ApartEncoder,
    vectors: CatalogueVectors,
    positions: NDArray[np.int32],
    lists: Sequence[CandidateList],
    pad_id: int,
) -> Known:
    places = places_in(len(vectors.items), positions)
    queries = list(dict.fromkeys(text for row in lists if not len(row.events) for text in row.history))
    rows = [texts.fit_event(ids) for ids in texts.token_ids(queries)]
    of_queries = text_vectors(encoder, Ragged.of(rows), pad_id) if rows else vectors.items[:0]
    of_text = {text: place for place, text in enumerate(queries)}
    return Known(vectors, places, of_queries, of_text, texts.limits.history_tokens)
