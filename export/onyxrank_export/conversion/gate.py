"""The quality gate: what a quantized graph must keep of fp32 to enter a bundle.

1. Every candidate list of the held-out sample is scored by the optimized fp32 graph and by the variant, through the
   engine's own scoring.
2. The variant passes if |ΔAUC|, the share of NDCG@10 kept and the mean top-10 overlap are within the limits.
3. Beside that, each variant's batch deviation is measured: how far a score moves when the item is scored alone
   instead of in its list. It decides whether the variant may be loaded unasked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture
from onyxrank.measure.invariance import batch_deviation
from onyxrank.measure.overlap import top_overlap
from onyxrank.request.token_ids import EncodedRequest
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.metrics import ranking_metrics

_DEVIATION_LISTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """What a variant may lose against fp32.

    Attributes:
        auc_change: largest absolute change of the mean AUC.
        ndcg_kept: smallest ratio of the variant's NDCG@10 to that of fp32.
        overlap: smallest mean share of fp32's top 10 that is in the variant's top 10.

    """

    auc_change: float = 0.003
    ndcg_kept: float = 0.99
    overlap: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's figures for one variant.

    Attributes:
        auc: mean AUC within lists.
        auc_change: difference of that to fp32's.
        ndcg_at_10: mean NDCG@10.
        ndcg_kept: ratio of that to fp32's.
        overlap: mean top-10 overlap with fp32.
        batch_deviation: largest difference of an item's probability when it is scored alone and in its list.
        faults: a sentence for each figure that is out of the limits; empty if the variant passes.

    """

    auc: float
    auc_change: float
    ndcg_at_10: float
    ndcg_kept: float
    overlap: float
    batch_deviation: float
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every figure is within the limits."""
        return not self.faults

    @property
    def usable(self) -> bool:
        """Whether every score is a number; a variant that answers anything else is not written, not even by force."""
        return not math.isnan(self.batch_deviation)

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain values for the manifest; NaN is None there."""
        figures = {name: None if value != value else value for name, value in asdict(self).items()}
        return figures | {"passed": self.passed, "faults": list(self.faults)}


@dataclass(frozen=True, slots=True)
class GateSample:
    """Held-out lists with their token ids.

    Attributes:
        lists: the candidate lists, which have the labels.
        requests: the same lists as token ids.

    """

    lists: Sequence[CandidateList]
    requests: Sequence[EncodedRequest]


Scores = list[NDArray[np.float32]]
"""Probabilities of the items of each list."""
Progress = Callable[[int, int], None]
"""Is told how many of how many lists are done."""


def score_sample(
    architecture: Architecture, sample: GateSample, progress: Progress = lambda done, total: None
) -> Scores:
    """Score each list as one request.

    Args:
        architecture: the graphs that score.
        sample: the lists.
        progress: told how many of how many lists are done.

    Returns:
        Probabilities, float32 [items] for each list.

    Raises:
        NonFiniteScore: if the graph answers NaN or infinity.

    """
    scores = []
    for request in sample.requests:
        scores += architecture.score([request])
        progress(len(scores), len(sample.requests))
    return scores


def judge(
    scores: Scores, reference: Scores, architecture: Architecture, sample: GateSample, limits: GateLimits
) -> Verdict:
    """Compare a variant with fp32 on the sample.

    Args:
        scores: the variant's scores, from `score_sample`.
        reference: the scores of the fp32 graph.
        architecture: the variant, whose batch deviation is measured.
        sample: the held-out lists.
        limits: what may be lost.

    Returns:
        The figures, and what is out of the limits.

    """
    if not all(np.isfinite(row).all() for row in scores):
        return no_scores()
    labels = [row.labels for row in sample.lists]
    figures, fp32 = ranking_metrics(labels, scores), ranking_metrics(labels, reference)
    auc_change = figures["auc"] - fp32["auc"]
    kept = figures["ndcg_at_10"] / fp32["ndcg_at_10"] if fp32["ndcg_at_10"] > 0 else 1.0
    overlap = float(np.mean([top_overlap(a, b) for a, b in zip(scores, reference, strict=True)]))
    # Each comparison is negated, so that NaN is a fault.
    faults = []
    if not abs(auc_change) <= limits.auc_change:
        faults.append(f"AUC changes by {auc_change:+.4f} (limit {limits.auc_change})")
    if not kept >= limits.ndcg_kept:
        faults.append(f"keeps {kept:.2%} of NDCG@10 (limit {limits.ndcg_kept:.0%})")
    if not overlap >= limits.overlap:
        faults.append(f"top-10 overlap {overlap:.3f} (limit {limits.overlap})")
    return Verdict(
        auc=figures["auc"],
        auc_change=auc_change,
        ndcg_at_10=figures["ndcg_at_10"],
        ndcg_kept=kept,
        overlap=overlap,
        batch_deviation=batch_deviation(architecture, sample.requests[:_DEVIATION_LISTS]),
        faults=tuple(faults),
    )


def no_scores() -> Verdict:
    """Make the verdict on a variant that answers NaN or infinity for some pair: it has no figures."""
    nan = float("nan")
    return Verdict(
        auc=nan,
        auc_change=nan,
        ndcg_at_10=nan,
        ndcg_kept=nan,
        overlap=nan,
        batch_deviation=nan,
        faults=("answers NaN or infinity for a held-out pair",),
    )
