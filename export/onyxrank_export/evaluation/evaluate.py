"""Ranking quality of a bundle through the engine, beside the baselines on the same candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank.ranker import Ranker
from onyxrank.request.items import Item
from onyxrank.request.readability import ALLOWED_UNKNOWN, Readability
from onyxrank_export.data.lists import CandidateList, lists_of_test, lists_of_validation
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import BehaviourSplit, Split, split_data
from onyxrank_export.data.values import DataError
from onyxrank_export.evaluation.baselines.fitted import NAMES, fitted_baselines
from onyxrank_export.evaluation.baselines.scorer import Scorer
from onyxrank_export.evaluation.bootstrap import bootstrap
from onyxrank_export.evaluation.calibration import Calibration, calibration, draw_reliability, without_shift
from onyxrank_export.evaluation.metrics import (
    RANKING_METRICS,
    mean_of,
    per_list_metrics,
    probability_metrics,
    ranking_metrics,
)
from onyxrank_export.evaluation.scores import KeptScores
from onyxrank_export.evaluation.slices import slices
from onyxrank_export.evaluation.verdict import best_baseline, verdict
from onyxrank_export.training.run import split_of

VALIDATION_LISTS = 400
"""Most validation lists that baselines choose their settings on."""
_BLOCK = 64
"""Lists that are scored by every system before the next ones are made."""
_REPORTED = (*RANKING_METRICS, "accuracy", "log_loss", "constant_log_loss", "calibration_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The lists of one kind.

    Attributes:
        name: what they have in common.
        lists: how many there are.
        ndcg_at_10: the mean by system.

    """

    name: str
    lists: int
    ndcg_at_10: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures of one evaluation.

    Attributes:
        results: metrics by system: ``model`` and the baselines that apply.
        intervals: bootstrap 95 % intervals of the model's ``auc`` and ``ndcg_at_10``, over lists.
        calibration: how good the model's probabilities are.
        verdict: a sentence that says whether the model beats the best baseline, with a paired interval.
        slices: NDCG@10 by kinds of lists.
        best: the name of the best baseline.
        lists: how many lists were ranked.
        sizes: how many candidates the shortest and the longest list have.
        variant: name of the graph variant that scored.
        protocol: by which protocol.
        split: how the data was split.
        scores: the scores of every candidate by every system.
        shift: what the readout added to all log-odds for the shop's own share of purchases; calibration is measured
            without it, since the lists are not of that share.
        readability: how much of the catalogue the bundle's vocabulary does not know.

    """

    results: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]]
    calibration: Calibration
    verdict: str
    slices: tuple[Slice, ...]
    best: str | None
    lists: int
    sizes: tuple[int, int]
    variant: str
    protocol: str
    split: str
    scores: KeptScores
    shift: float
    readability: Readability

    def to_json(self) -> dict[str, Any]:
        """The metrics by system, as the command prints them; a metric that is NaN (no negatives, say) is None."""
        return {
            system: {
                name: None if np.isnan(metrics[name]) else metrics[name] for name in _REPORTED if name in metrics
            }
            for system, metrics in self.results.items()
        }

    def draw_reliability(self, path: Path) -> None:
        """Draw the model's probabilities against what was bought into a PNG."""
        kept = self.scores
        probabilities = without_shift(kept.scores["model"], self.shift)
        draw_reliability(kept.by_list(kept.labels), [probabilities], path)


def evaluate(
    ranker: Ranker,
    data: str | Path,
    *,
    protocol: str = "sampled",
    split: str | None = None,
    most: int | None = None,
    baselines: Sequence[str] = NAMES,
    training: Mapping[str, Any] | None = None,
    allow_unknown: float = ALLOWED_UNKNOWN,
    oracle: Scorer | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Rank the test lists of a data set.

    Args:
        ranker: the loaded bundle.
        data: behaviour or search data in one of the input formats; its test part is ranked.
        protocol: what stands in a list beside the purchase, one of `PROTOCOLS`; search data has lists of its own.
        split: the way to split, one of `SPLITS`; by default the way of the bundle's training.
        most: most lists to rank, chosen with a fixed seed; all by default.
        baselines: which baselines to fit and rank with; all by default.
        training: what the bundle's manifest says of its training; None if it says nothing.
        allow_unknown: most of each share of `Readability` that the bundle's vocabulary may leave unread.
        oracle: scores by what really decides, where the data is made up and that is known.
        progress: told how many of how many lists are done.
        say: told what is fitted before the lists are ranked.

    Returns:
        The figures of the model and of the baselines.

    Raises:
        DataError: if the data has faults or nothing to test.
        InvalidInput: if `most` is less than 1, there is no such protocol, split or baseline, or the model has learnt
            from what the split would test it on.
        UnreadableCatalogue: if the vocabulary does not know more than `allow_unknown` of the texts.

    """
    content = read_data(data)
    parts = split_data(content, _way(split, training, content.fingerprint))
    unread = ranker.readability(content.items, getattr(content, "queries", ()))
    unread.check(allow_unknown)
    lists = lists_of_test(parts, most=most, protocol=protocol)
    scorers = fitted_baselines(parts, validation_lists(parts, protocol), names=baselines, say=say)
    if oracle is not None:
        scorers["oracle"] = oracle
    rows, scores = _all_scores(ranker, lists, content.items, scorers, progress)
    return _figures(ranker, rows, scores, parts, protocol, unread)


def model_scores(
    ranker: Ranker,
    lists: Sequence[CandidateList],
    items: Sequence[Item],
    progress: Callable[[int, int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """Score every list by `Ranker.score`: float32 [candidates] each; `progress` is told how many are done."""
    scores = []
    for done, row in enumerate(lists, 1):
        scores.append(ranker.score(row.history, [items[index] for index in row.items]))
        if progress is not None:
            progress(done, len(lists))
    return scores


def validation_lists(split: Split, protocol: str) -> Sequence[CandidateList]:
    """The lists that baselines choose their settings on; none if nobody has a purchase to validate on."""
    try:
        return list(lists_of_validation(split, most=VALIDATION_LISTS, protocol=protocol))
    except DataError:
        return ()


def _way(split: str | None, training: Mapping[str, Any] | None, fingerprint: str) -> str:
    """The way to split: the one asked for, unless the model learnt from what that way holds out."""
    trained = split_of(training) if training else None
    if split is None:
        return trained or "last"
    same = training is not None and training.get("data", {}).get("fingerprint") == fingerprint
    if same and trained is not None and split != trained:
        raise InvalidInput(
            f"this bundle was trained on the split '{trained}' of this data: by '{split}' it would be tested on what "
            f"it learnt; train with --split {split} to measure by it",
            field="split",
        )
    return split


def _all_scores(
    ranker: Ranker,
    lists: Sequence[CandidateList],
    items: Sequence[Item],
    scorers: Mapping[str, Scorer],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[CandidateList], dict[str, list[NDArray[np.float32]]]]:
    """Score all lists by the model and every baseline, block after block, so that a running figure moves evenly."""
    rows: list[CandidateList] = []
    scores: dict[str, list[NDArray[np.float32]]] = {name: [] for name in ("model", *scorers)}
    for start in range(0, len(lists), _BLOCK):
        block = lists[start : start + _BLOCK]
        rows += block
        told = None if progress is None else lambda done, _, start=start: progress(start + done, len(lists))
        scores["model"] += model_scores(ranker, block, items, told)
        for name, scorer in scorers.items():
            scores[name] += [np.asarray(row, np.float32) for row in scorer(block)]
    return rows, scores


def _figures(
    ranker: Ranker,
    lists: Sequence[CandidateList],
    scores: Mapping[str, Sequence[NDArray[np.float32]]],
    split: Split,
    protocol: str,
    unread: Readability,
) -> Evaluation:
    labels = [row.labels for row in lists]
    shift = float(ranker.info()["readout"]["shift"])
    probabilities = [without_shift(row, shift) for row in scores["model"]]
    per_list = {name: per_list_metrics(labels, rows) for name, rows in scores.items()}
    results = {name: ranking_metrics(labels, rows) for name, rows in scores.items()}
    results["model"] |= probability_metrics(np.concatenate(labels), np.concatenate(probabilities))
    quality = {name: figures["ndcg_at_10"] for name, figures in per_list.items()}
    way, popularity = (split.name, split.popularity) if isinstance(split, BehaviourSplit) else ("queries", None)
    kinds = slices(lists, popularity)
    return Evaluation(
        results=results,
        intervals={name: bootstrap(per_list["model"][name]) for name in ("auc", "ndcg_at_10")},
        calibration=calibration(labels, probabilities),
        verdict=verdict(quality),
        slices=tuple(
            Slice(
                name=name,
                lists=int(chosen.sum()),
                ndcg_at_10={system: mean_of(values[chosen]) for system, values in quality.items()},
            )
            for name, chosen in kinds.items()
        ),
        best=best_baseline(quality),
        lists=len(lists),
        sizes=(min(len(row.items) for row in lists), max(len(row.items) for row in lists)),
        variant=str(ranker.info()["variant"]),
        protocol=protocol,
        split=way,
        shift=shift,
        readability=unread,
        scores=KeptScores.of(lists, scores, protocol=protocol, split=way, fingerprint=split.data.fingerprint),
    )
