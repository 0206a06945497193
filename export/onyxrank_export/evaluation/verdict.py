"""Whether a model earns its keep: one sentence about it and the best of the baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.evaluation.bootstrap import paired_ratio
from onyxrank_export.evaluation.metrics import mean_of

NAMES = {
    "model": "model",
    "popularity": "popularity",
    "rarity": "rarity",
    "bm25": "BM25",
    "encoder": "encoder, untrained",
    "co_purchase": "co-purchase",
    "item_knn": "item-kNN",
    "ease": "EASE",
    "logit": "logit of these",
    "oracle": "oracle",
}
"""What the systems are called in tables and sentences."""
_NOT_RIVALS = ("model", "oracle")


def best_baseline(quality: Mapping[str, NDArray[np.float64]]) -> str | None:
    """The name of the baseline with the highest mean; None if there is none. Arguments as of `verdict`."""
    means = {name: mean_of(values) for name, values in quality.items() if name not in _NOT_RIVALS}
    return max(means, key=lambda name: np.nan_to_num(means[name], nan=-1.0)) if means else None


def verdict(quality: Mapping[str, NDArray[np.float64]]) -> str:
    """Say how the model compares with the best baseline: a sentence.

    Args:
        quality: NDCG@10 of each list, float64 [lists], by system; ``model`` among them.

    """
    rival = best_baseline(quality)
    if rival is None:
        return "There is no baseline to compare with."
    ratio, low, high = (100 * (value - 1) for value in paired_ratio(quality["model"], quality[rival]))
    told = f"the best baseline, {NAMES.get(rival, rival)}"
    interval = f"[{low:.0f}, {high:.0f}]"
    if not np.isfinite([ratio, low, high]).all():
        return f"NDCG@10 says nothing of the model and {told} on these lists."
    figures = "NDCG@10"
    if low > 0:
        return f"The model is better than {told}, by {ratio:.0f} % {interval} of {figures}."
    if high < 0:
        less = f"by {-ratio:.0f} % [{-high:.0f}, {-low:.0f}] of {figures}"
        return f"The model is worse than {told}, {less}: it does not earn its keep."
    return (
        f"The model is not told apart from {told}: {ratio:+.0f} % {interval} {figures}; it has not earned its keep."
    )
