"""The quality gate: what a quantized graph must keep of fp32 to enter a bundle.

1. Candidate lists of the held-out sample are scored by the optimized fp32 graph and by the variant, through the
engine's
   own scoring; the same lists, so that what differs is the graph.
2. Three figures are judged by their intervals over the lists: the change of AUC, the share that is kept of NDCG@10
above
   chance, and the overlap of the top ten. A variant passes if all intervals are within the limits, and is refused
   if one is beyond them. Otherwise the gate goes on to more lists (`sequential`), up to a limit that was told
   beforehand; there it remains undecided, and says how many lists it would take.
3. Beside that, each variant's batch deviation is measured: how far a score moves when the item is scored alone
instead of
   in its list. It decides whether the variant may be loaded unasked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture
from onyxrank.measure.overlap import top_overlap
from onyxrank.request.token_ids import EncodedRequest
from onyxrank_export.conversion.sequential import lists_needed, mean_interval
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.metrics import mean_of, per_list_metrics

PASSED, REFUSED, UNDECIDED = "passed", "refused", "undecided"
FIGURES = ("auc_change", "ndcg_kept", "overlap")
"""The attributes of a verdict that are judged."""
_SPREADS = {"auc": 0.1, "ndcg": 0.5, "overlap": 0.5}
"""How far a list may well be from the mean, for `sequential`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """What a variant may lose against fp32, and how sure that has to be.

    Attributes:
        auc_change: largest absolute change of the mean AUC.
        ndcg_kept: smallest share that is kept of fp32's NDCG@10 above chance.
        overlap: smallest mean share of fp32's top 10 that is in the variant's top 10.
        error: the chance, at most, to pass a variant that is at a limit, and to refuse one.

    """

    auc_change: float = 0.003
    ndcg_kept: float = 0.98
    overlap: float = 0.9
    error: float = 0.015


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the figures that are judged.

    Attributes:
        value: over the lists.
        low: the lower end of its interval.
        high: the upper end.
        outcome: ``passed``, ``refused`` or ``undecided``.
        needed: about how many lists it would take to decide; None where it is decided, or no number would do.

    """

    value: float
    low: float
    high: float
    outcome: str
    needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's figures for one variant.

    Attributes:
        lists: how many lists it was judged on.
        auc: mean AUC within lists.
        ndcg_at_10: mean NDCG@10.
        auc_change: difference of the mean AUC to fp32's.
        ndcg_kept: share that is kept of fp32's NDCG@10 above chance.
        overlap: mean top-10 overlap with fp32.
        limits: what they were judged by.
        numbers: whether every margin is a number; a variant that answers anything else is not written, not even by
            force.

    """

    lists: int
    auc: float
    ndcg_at_10: float
    auc_change: Figure
    ndcg_kept: Figure
    overlap: Figure
    limits: GateLimits
    numbers: bool = True

    @property
    def outcome(self) -> str:
        """``refused`` if a figure is beyond its limit, ``passed`` if all are within, else ``undecided``."""
        outcomes = [figure.outcome for figure in self._figures]
        return REFUSED if REFUSED in outcomes else PASSED if set(outcomes) == {PASSED} else UNDECIDED

    @property
    def passed(self) -> bool:
        """Whether every figure is surely within its limit."""
        return self.outcome == PASSED

    @property
    def needed(self) -> int | None:
        """About how many lists would decide; None where it is decided, or no number would do."""
        open_figures = [figure.needed for figure in self._figures if figure.outcome == UNDECIDED]
        return None if not open_figures or None in open_figures else max(number or 0 for number in open_figures)

    @property
    def reasons(self) -> list[str]:
        """Why it did not pass: a sentence for each figure that is as bad as the outcome."""
        if not self.numbers:
            return ["answers NaN or infinity for a held-out pair"]
        auc, kept, overlap, limits = self.auc_change, self.ndcg_kept, self.overlap, self.limits
        told = {
            f"AUC changes by {auc.value:+.4f} [{auc.low:+.4f}, {auc.high:+.4f}] (limit {limits.auc_change})": auc,
            f"keeps {kept.value:.1%} [{kept.low:.1%}, {kept.high:.1%}] of NDCG@10 above chance "
            f"(limit {limits.ndcg_kept:.0%})": kept,
            f"top-10 overlap {overlap.value:.3f} [{overlap.low:.3f}, {overlap.high:.3f}] "
            f"(limit {limits.overlap})": overlap,
        }
        return [] if self.passed else [text for text, figure in told.items() if figure.outcome == self.outcome]

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain values for the manifest; what is not finite is None there."""
        content: dict[str, Any] = {
            "outcome": self.outcome,
            "passed": self.passed,
            "lists": self.lists,
            "needed": self.needed,
            "auc": _finite(self.auc),
            "ndcg_at_10": _finite(self.ndcg_at_10),
        }
        for name, figure in zip(FIGURES, self._figures, strict=True):
            content[name] = _finite(figure.value)
            content[f"{name}_interval"] = [_finite(figure.low), _finite(figure.high)]
        return content | {"reasons": self.reasons}

    @property
    def _figures(self) -> tuple[Figure, Figure, Figure]:
        return self.auc_change, self.ndcg_kept, self.overlap


@dataclass(frozen=True, slots=True)
class GateSample:
    """Held-out lists with their token ids.

    Attributes:
        lists: the candidate lists, which have the labels.
        requests: the same lists as token ids.

    """

    lists: Sequence[CandidateList]
    requests: Sequence[EncodedRequest]


Margins = list[NDArray[np.float32]]
"""Margins of the items of each list."""
Progress = Callable[[int, int], None]
"""Is told how many of how many lists are done."""


class Scoring:
    """The margins that one architecture gives the lists of a sample, computed as far as they are asked for.

    Args:
        architecture: the graphs that score.
        sample: the lists, each of which is one request.
        progress: told how many of how many lists are done.

    """

    def __init__(
        self, architecture: Architecture, sample: GateSample, progress: Progress = lambda done, total: None
    ) -> None:
        self._architecture = architecture
        self._sample = sample
        self._progress = progress
        self._margins: Margins = []

    def first(self, count: int) -> Margins:
        """Give the margins of the first `count` lists, or of all if there are fewer: float32 [items] each.

        Raises:
            NonFiniteScore: if the graph answers NaN or infinity.

        """
        count = min(count, len(self._sample.requests))
        while len(self._margins) < count:
            self._margins += self._architecture.margins([self._sample.requests[len(self._margins)]])
            self._progress(len(self._margins), count)
        return self._margins[:count]

    @property
    def scored(self) -> int:
        """How many lists it has scored."""
        return len(self._margins)


def judge(margins: Margins, reference: Margins, sample: GateSample, limits: GateLimits, error: float) -> Verdict:
    """Compare a variant with fp32 on the lists that both have scored.

    Args:
        margins: the variant's, from `Scoring`.
        reference: those of the fp32 graph.
        sample: the held-out lists; the first of them are those that were scored.
        limits: what may be lost.
        error: what the intervals of this look may err by, on one side.

    Returns:
        The figures, what is beyond the limits and what is open.

    """
    lists = len(margins)
    if not all(np.isfinite(row).all() for row in margins):
        return no_scores(lists, limits)
    labels = [row.labels for row in sample.lists[:lists]]
    mine, fp32 = per_list_metrics(labels, margins), per_list_metrics(labels, reference[:lists])
    chance = per_list_metrics(labels, [np.zeros(len(row)) for row in labels])["ndcg_at_10"]
    judged = ~np.isnan(mine["ndcg_at_10"])
    above, fp32_above = ((each["ndcg_at_10"] - chance)[judged] for each in (mine, fp32))
    change = (mine["auc"] - fp32["auc"])[~np.isnan(mine["auc"])]
    overlap = np.array([top_overlap(one, other) for one, other in zip(margins, reference, strict=False)])
    return Verdict(
        lists=lists,
        auc=mean_of(mine["auc"]),
        ndcg_at_10=mean_of(mine["ndcg_at_10"]),
        auc_change=figure_of(change, (-limits.auc_change, limits.auc_change), error, limits.error, _SPREADS["auc"]),
        ndcg_kept=kept_figure(above, fp32_above, error, limits),
        overlap=figure_of(overlap, (limits.overlap, math.inf), error, limits.error, _SPREADS["overlap"]),
        limits=limits,
    )


def no_scores(lists: int, limits: GateLimits) -> Verdict:
    """Make the verdict on a variant that answers NaN or infinity for some pair: it has no figures and is refused."""
    nothing = Figure(math.nan, math.nan, math.nan, REFUSED)
    return Verdict(
        lists=lists,
        auc=math.nan,
        ndcg_at_10=math.nan,
        auc_change=nothing,
        ndcg_kept=nothing,
        overlap=nothing,
        limits=limits,
        numbers=False,
    )


def figure_of(
    values: NDArray[np.float64], within: tuple[float, float], error: float, whole: float, spread: float
) -> Figure:
    """Judge the mean of some values by its interval: wholly within the limits, wholly beyond one, or neither."""
    if not len(values):
        return Figure(math.nan, -math.inf, math.inf, UNDECIDED)
    low, high = mean_interval(values, error, spread)
    value = float(values.mean())
    if high < within[0] or low > within[1]:
        return Figure(value, low, high, REFUSED)
    if low > within[0] and high < within[1]:
        return Figure(value, low, high, PASSED)
    nearest = min(within, key=lambda limit: abs(value - limit))
    return Figure(value, low, high, UNDECIDED, lists_needed(values, nearest, whole, spread))


def kept_figure(
    above: NDArray[np.float64], fp32_above: NDArray[np.float64], error: float, limits: GateLimits
) -> Figure:
    """Judge the share kept of NDCG@10 above chance by what a list has more than the limit would leave it.

    A share is a ratio of two means; what is left over is a mean. Where fp32 itself is not above chance there is
    nothing to keep, and no number of lists decides.
    """
    spare = figure_of(above - limits.ndcg_kept * fp32_above, (0.0, math.inf), error, limits.error, _SPREADS["ndcg"])
    gain = float(fp32_above.mean()) if len(fp32_above) else math.nan
    if not gain > 0:
        return Figure(math.nan, -math.inf, math.inf, UNDECIDED)
    value, low, high = (limits.ndcg_kept + each / gain for each in (spare.value, spare.low, spare.high))
    return Figure(value, low, high, spare.outcome, spare.needed)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
