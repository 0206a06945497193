"""The conditional logit: the other baselines weighed together, by a weight each that validation lists choose.

McFadden 1974, "Conditional logit analysis of qualitative choice behavior", equation 12: the chance that a candidate
is the one bought is the softmax, over its list, of a weighted sum of what is known of each candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.baselines.scorer import Scorer

_PENALTY = 1.0
"""Strength of the penalty on the squares of the weights, in lists: it matters where there are few."""


def logit(
    scorers: Mapping[str, Scorer], popularity: NDArray[np.int64] | None, validation: Sequence[CandidateList]
) -> Scorer:
    """Fit the weights of several scorers on validation lists.

    A list says what it knows by its own scores, brought to mean 0 and standard deviation 1, so that no scale matters.

    Args:
        scorers: what to weigh together.
        popularity: int64 [items], training purchases, whose logarithm is weighed too; None where there are none.
        validation: lists with one positive at least.

    """

    def features(lists: Sequence[CandidateList]) -> list[NDArray[np.float64]]:
        columns = [[_standard(row) for row in scorer(lists)] for scorer in scorers.values()]
        if popularity is not None:
            often = [np.log1p(popularity[row.items]) for row in lists]
            columns.append([_standard(row) for row in often])
            columns.append([_standard(row == 0) for row in often])  # never bought in training
        return [np.stack(row, axis=1) for row in zip(*columns, strict=True)]

    weights = fit_weights(features(validation), [row.labels for row in validation])
    return lambda lists: [row @ weights for row in features(lists)]


def fit_weights(
    features: Sequence[NDArray[np.float64]], labels: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Maximize the likelihood of what was bought; of several in one list each counts in part.

    Args:
        features: float64 [candidates, features] of each list.
        labels: float32 [candidates], 0.0 to 1.0.

    Returns:
        float64 [features].

    """
    told = [(rows, label / label.sum()) for rows, label in zip(features, labels, strict=True) if label.any()]
    known, shares = (np.concatenate(column) for column in zip(*told, strict=True))
    sizes = np.array([len(label) for _, label in told])
    starts = np.cumsum(sizes) - sizes

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = known @ weights
        logits -= np.repeat(np.maximum.reduceat(logits, starts), sizes)
        chances = np.exp(logits)
        sums = np.add.reduceat(chances, starts)
        chances /= np.repeat(sums, sizes)
        value = np.log(sums).sum() - shares @ logits + 0.5 * _PENALTY * weights @ weights
        return float(value), known.T @ (chances - shares) + _PENALTY * weights

    start = np.zeros(known.shape[1])
    fitted: NDArray[np.float64] = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return fitted


def _standard(scores: NDArray[np.floating] | NDArray[np.bool_]) -> NDArray[np.float64]:
    wide: NDArray[np.float64] = np.asarray(scores, np.float64)
    spread = wide.std()
    return (wide - wide.mean()) / spread if spread > 0 else np.zeros(len(wide))
