"""EASE: a linear model from the items of the history to all items, in closed form.

Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", section 3.1: with G = XᵀX + λI and P = G⁻¹, the
weight of item i on item j is -P_ij / P_jj, and 0 of an item on itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.splits import BehaviourSplit
from onyxrank_export.evaluation.baselines.purchases import POWERS, purchases_of_training, scorer_of
from onyxrank_export.evaluation.baselines.scorer import Scorer, best_by_validation

MOST_ITEMS = 10_000
"""The weights are a dense matrix over this many items at most, those bought most; others score 0."""
_LAMBDAS = (20.0, 100.0, 500.0)


def ease(split: BehaviourSplit, validation: Sequence[CandidateList]) -> Scorer:
    """Fit on training purchases; λ and the power of popularity are chosen on validation lists."""
    bought = purchases_of_training(split)
    known = np.flatnonzero(split.popularity)
    if len(known) > MOST_ITEMS:
        known = np.sort(np.argsort(-split.popularity, kind="stable")[:MOST_ITEMS])
    weights = {strength: ease_weights(bought[:, known], strength) for strength in _LAMBDAS}

    def make(setting: tuple[float, float]) -> Scorer:
        def related(events: csr_matrix) -> NDArray[np.float32]:
            scores = np.zeros(events.shape, np.float32)
            scores[:, known] = events[:, known] @ weights[setting[0]]
            return scores

        return scorer_of(related, split.popularity, setting[1])

    _, scorer = best_by_validation(product(_LAMBDAS, POWERS), make, validation)
    return scorer


def ease_weights(bought: csr_matrix, strength: float) -> NDArray[np.float32]:
    """Solve for the weights: float32 [items, items], from an item of the history to an item that is scored.

    Args:
        bought: [users, items] of zeros and ones.
        strength: λ, of the penalty on the squares of the weights.

    """
    gram = (bought.T @ bought).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += strength
    factor, _ = lapack.dpotrf(gram, overwrite_a=True)  # gram is positive definite, for λ is above 0
    upper, _ = lapack.dpotri(factor, overwrite_c=True)
    inverse = np.triu(upper) + np.triu(upper, 1).T
    weights: NDArray[np.float32] = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights
