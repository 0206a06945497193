"""The weights of neighbour terms: what the purchase of an item says of others, learnt from training purchases alone.

Two kinds: EASE (`evaluation.baselines.ease`), and how often one item was bought soon after another, over the roots of
their purchases. Of every event's item the largest weights are kept, which is what a bundle carries.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from onyxrank.architectures.interaction import NeighbourTerm
from onyxrank_export.data.splits import BehaviourSplit
from onyxrank_export.evaluation.baselines.co_purchase import similarity
from onyxrank_export.evaluation.baselines.ease import MOST_ITEMS, ease_weights
from onyxrank_export.evaluation.baselines.purchases import purchases_of_training

MOST_NEIGHBOURS = 300
"""Most weights kept of each item."""
RECENCIES = (0.0, 0.25, 0.5)
_LAMBDAS = (20.0, 200.0, 1000.0)
_SHRINKAGE = 5.0
_SOON = 3
"""Purchases after an item that count as soon after it, by the inverse of their distance."""


def neighbour_candidates(split: BehaviourSplit, known: NDArray[np.int32]) -> dict[str, list[NeighbourTerm]]:
    """Make neighbour terms of weight 1, by what they are, in the settings of which validation lists choose one.

    Args:
        split: the data; its training purchases are learnt from.
        known: int32 [known items], positions in the catalogue of the items that terms know.

    """
    bought = purchases_of_training(split)[:, known]
    if len(known) <= MOST_ITEMS:
        together = {f"ease {strength:.0f}": _sparse(ease_weights(bought, strength)) for strength in _LAMBDAS}
    else:  # EASE's weights would be a matrix of so many items squared
        together = {"cosines": similarity(bought, _SHRINKAGE)}
    terms = [term(weights, recency=recency) for weights in map(_largest, together.values()) for recency in RECENCIES]
    after = _largest(_soon_after(split, known))
    return {"co_purchase": terms, "next": [term(after, recency=recency) for recency in (0.5, 1.0, 2.0)]}


def term(weights: csr_matrix, *, recency: float) -> NeighbourTerm:
    """Make a term of weight 1 from weights [event's item, scored item]."""
    return NeighbourTerm(
        weight=1.0,
        recency=recency,
        starts=weights.indptr.astype(np.int64),
        places=weights.indices.astype(np.int32),
        weights=weights.data.astype(np.float16),
    )


def _sparse(weights: NDArray[np.float32]) -> csr_matrix:
    return csr_matrix(np.maximum(weights, 0.0))


def _largest(weights: csr_matrix) -> csr_matrix:
    """Keep the `MOST_NEIGHBOURS` largest weights of each row, those above 0."""
    rows = weights.tocsr().astype(np.float32)
    for start, end in zip(rows.indptr, rows.indptr[1:], strict=False):
        if end - start > MOST_NEIGHBOURS:
            values = rows.data[start:end]
            values[np.argpartition(-values, MOST_NEIGHBOURS)[MOST_NEIGHBOURS:]] = 0.0
    rows.data[rows.data < np.finfo(np.float16).tiny] = 0.0
    rows.eliminate_zeros()
    rows.sort_indices()
    return rows


def _soon_after(split: BehaviourSplit, known: NDArray[np.int32]) -> csr_matrix:
    """How often items were bought soon after others, over the roots of their purchases: [before, after]."""
    pairs = list(_pairs(split))
    before, after, near = (np.concatenate(column) for column in zip(*pairs, strict=True)) if pairs else ([], [], [])
    count = len(split.data.items)
    often = coo_matrix((near, (before, after)), shape=(count, count)).tocsr()[known][:, known].tocoo()
    purchases = split.popularity[known] + 1.0
    shrunk = often.data / np.sqrt(purchases[often.row] * purchases[often.col])
    return csr_matrix((shrunk, (often.row, often.col)), shape=often.shape)


def _pairs(split: BehaviourSplit) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]]:
    for shopper in split.shoppers:
        bought = shopper.purchases[: shopper.training]
        for distance in range(1, min(_SOON, len(bought) - 1) + 1):
            yield bought[:-distance], bought[distance:], np.full(len(bought) - distance, 1.0 / distance)
