"""Ranking and probability metrics over candidate lists, by scikit-learn where it has them.

But not AUC and NDCG of a single list: there scikit-learn spends fifty times as long on checking its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

CUTOFF = 10
RANKING_METRICS = ("auc", "ndcg_at_10", "mrr", "hit_rate_at_10", "hit_rate_at_100")


def ranking_metrics(
    labels: Sequence[NDArray[np.float32]], scores: Sequence[NDArray[np.floating]]
) -> dict[str, float]:
    """Average ranking metrics over lists. Of ties every metric is its mean over all their orders.

    Args:
        labels: relevance of each candidate per list, 0.0 to 1.0; at least 0.5 counts as a positive.
        scores: scores of the same shapes; larger is better.

    Returns:
        ``auc``, the mean over the lists of the AUC within a list: the share of negatives below the target.
        ``auc_pooled``, the AUC over the candidates of all lists at once.
        ``ndcg_at_10``, of Järvelin and Kekäläinen 2002, with linear gain.
        ``mrr``, ``hit_rate_at_10`` and ``hit_rate_at_100``, of the best placed positive: its mean reciprocal rank,
        and the share of lists where it is among the first ten or hundred. A metric that is defined for no list is
        NaN.

    Raises:
        ValueError: if a score is NaN.

    """
    per_list = per_list_metrics(labels, scores)
    truth = np.concatenate(labels) >= 0.5
    result = {name: mean_of(values) for name, values in per_list.items()}
    result["auc_pooled"] = (
        float(roc_auc_score(truth, np.concatenate(scores))) if 0 < truth.sum() < len(truth) else float("nan")
    )
    return result


def per_list_metrics(
    labels: Sequence[NDArray[np.float32]], scores: Sequence[NDArray[np.floating]]
) -> dict[str, NDArray[np.float64]]:
    """Compute ranking metrics list by list, for paired comparisons: float64 [lists] by name.

    A metric is NaN where it is not defined: in lists without a positive or of one candidate; AUC also in lists
    without a negative. Arguments are those of `ranking_metrics`.
    """
    rows = [
        _one_list(np.asarray(label), np.asarray(score, np.float64))
        for label, score in zip(labels, scores, strict=True)
    ]
    return {name: np.array([row[name] for row in rows]) for name in RANKING_METRICS}


def probability_metrics(labels: NDArray[np.float32], probabilities: NDArray[np.floating]) -> dict[str, float]:
    """Measure probabilities against labels, over all pairs.

    Args:
        labels: float32 [pairs], 0.0 to 1.0; at least 0.5 counts as a positive.
        probabilities: float [pairs].

    Returns:
        ``accuracy`` at a threshold of 0.5, ``log_loss``, ``constant_log_loss`` (that of the share of positives, said
        of every pair), and ``calibration_error`` in 15 bins.

    """
    truth = labels >= 0.5
    wide: NDArray[np.float64] = np.asarray(probabilities, np.float64)
    return {
        "accuracy": float(np.mean((wide >= 0.5) == truth)),
        "log_loss": log_loss_of(truth, wide),
        "constant_log_loss": constant_log_loss(truth),
        "calibration_error": calibration_error(truth, wide),
    }


def log_loss_of(truth: NDArray[Any], probabilities: NDArray[np.float64]) -> float:
    """The mean log loss of probabilities; one of 0 or 1 that is wrong costs as much as 1e-7 would.

    Args:
        truth: bool [pairs] or 0 and 1, whether a pair is positive.
        probabilities: float64 [pairs].

    """
    return float(log_loss(truth, np.clip(probabilities, 1e-7, 1 - 1e-7), labels=[0, 1]))


def constant_log_loss(truth: NDArray[Any]) -> float:
    """The log loss of saying the share of positives of every pair: what a probability has to be better than."""
    return log_loss_of(truth, np.full(len(truth), float(np.mean(truth))))


def calibration_error(truth: NDArray[np.bool_], probabilities: NDArray[np.float64], bins: int = 15) -> float:
    """The expected calibration error (Guo et al. 2017, section 2).

    Probabilities are put into bins of equal width. The error is the distance between the mean probability of a bin
    and the share of positives in it, averaged over the bins by their sizes.

    Args:
        truth: bool [pairs], whether a pair is positive.
        probabilities: float64 [pairs].
        bins: how many bins.

    """
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    size = np.bincount(index, minlength=bins)
    gap = np.abs(
        np.bincount(index, weights=probabilities, minlength=bins) - np.bincount(index, weights=truth, minlength=bins)
    )
    return float(gap.sum() / size.sum())


def mean_of(values: NDArray[np.float64]) -> float:
    """The mean of a metric over the lists that it is defined for; NaN if it is for none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _one_list(labels: NDArray[np.float32], scores: NDArray[np.float64]) -> dict[str, float]:
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: it has no place in a ranking")
    positive = labels >= 0.5
    if not positive.any() or len(labels) == 1:
        return dict.fromkeys(RANKING_METRICS, np.nan)
    first = _first_positive(positive, scores)
    return {
        "auc": np.nan if positive.all() else _auc(positive, scores),
        "ndcg_at_10": _ndcg(labels, scores),
        "mrr": float(first @ (1 / np.arange(1.0, len(first) + 1))),
        "hit_rate_at_10": float(first[:CUTOFF].sum()),
        "hit_rate_at_100": float(first[:100].sum()),
    }


def _first_positive(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance of each place to be that of the best positive, if ties are in any order: float64 [up to its last].

    Of n tied candidates, k of them positive, none of the first i is one with the chance (n-k)/n · (n-k-1)/(n-1) · …
    """
    best = scores[positive].max()
    above, tied = int((scores > best).sum()), scores == best
    count, good = int(tied.sum()), int(positive[tied].sum())
    drawn = np.arange(count - good)
    none_yet = np.cumprod(np.concatenate([[1.0], (count - good - drawn) / (count - drawn)]))
    return np.concatenate([np.zeros(above), -np.diff(np.append(none_yet, 0.0))])


def _auc(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The share of pairs of a positive and a negative that are in order; a tie counts half."""
    _, place = np.unique(scores, return_inverse=True)
    good, bad = np.bincount(place, weights=positive), np.bincount(place, weights=~positive)
    below = np.cumsum(bad) - bad
    return float(good @ (below + 0.5 * bad) / (good.sum() * bad.sum()))


def _ndcg(labels: NDArray[np.float32], scores: NDArray[np.float64]) -> float:
    """Gain of the best places over what the best order would gain; those tied share the gain of their places."""
    discounts = 1 / np.log2(np.arange(len(scores)) + 2.0)
    discounts[CUTOFF:] = 0
    _, place, count = np.unique(-scores, return_inverse=True, return_counts=True)
    gain = np.bincount(place, weights=labels) / count
    found = gain @ np.add.reduceat(discounts, np.cumsum(count) - count)
    return float(found / (np.sort(labels)[::-1] @ discounts))
