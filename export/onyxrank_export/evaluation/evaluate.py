"""Ranking quality of a bundle through the engine, beside popularity and BM25 on the same candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.ranker import Ranker
from onyxrank.request.items import Item
from onyxrank_export.data.pairs import CandidateList, lists_of_test
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.baselines import bm25_scores, popularity_scores
from onyxrank_export.evaluation.metrics import per_list_metrics, probability_metrics, ranking_metrics

_RESAMPLES = 1_000
_REPORTED = ("auc", "ndcg_at_10", "mrr", "hit_rate_at_10", "accuracy", "log_loss", "calibration_error")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one evaluation.

    Attributes:
        results: metrics by system: ``model``, ``popularity`` and ``bm25``.
        intervals: bootstrap 95 % intervals of the model's ``auc`` and ``ndcg_at_10``, over lists.
        lists: how many lists were ranked.
        sizes: how many candidates the shortest and the longest list have.
        variant: name of the graph variant that scored.

    """

    results: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]]
    lists: int
    sizes: tuple[int, int]
    variant: str

    def to_json(self) -> dict[str, Any]:
        """The metrics by system, as the command prints them; a metric that is NaN (no negatives, say) is None."""
        return {
            system: {
                name: None if np.isnan(metrics[name]) else metrics[name] for name in _REPORTED if name in metrics
            }
            for system, metrics in self.results.items()
        }


def evaluate(
    ranker: Ranker,
    data: str | Path,
    *,
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Rank the test lists of a data set.

    Args:
        ranker: the loaded bundle.
        data: behaviour or search data in one of the input formats; its test part is ranked.
        most: most lists to rank, chosen with a fixed seed; all by default.
        progress: told how many of how many lists are done.

    Returns:
        The figures of the model and of both baselines.

    Raises:
        DataError: if the data has faults or nothing to test.
        InvalidInput: if `most` is less than 1.

    """
    content = read_data(data)
    split = split_data(content)
    lists = lists_of_test(split, most=most)
    labels = [row.labels for row in lists]
    scores = model_scores(ranker, lists, content.items, progress)
    results = {
        "model": ranking_metrics(labels, scores)
        | probability_metrics(np.concatenate(labels), np.concatenate(scores)),
        "popularity": ranking_metrics(labels, popularity_scores(lists, split.popularity)),
        "bm25": ranking_metrics(labels, bm25_scores(lists, content.items)),
    }
    per_list = per_list_metrics(labels, scores)
    return Evaluation(
        results=results,
        intervals={name: bootstrap(per_list[name]) for name in ("auc", "ndcg_at_10")},
        lists=len(lists),
        sizes=(min(len(row.items) for row in lists), max(len(row.items) for row in lists)),
        variant=str(ranker.info()["variant"]),
    )


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


def bootstrap(
    values: NDArray[np.float64],
    *,
    statistic: Callable[[NDArray[np.float64]], float] = np.mean,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Estimate the 95 % percentile interval of a statistic by resampling lists.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.

    Args:
        values: float64 [lists] or [lists, columns]; lists with a NaN are left out.
        statistic: the statistic of such an array; the mean by default.
        resamples: how many times to resample.
        seed: seed of the resampling.

    Returns:
        The lower and the upper end; NaN if no list is left.

    """
    values = values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)]
    if not len(values):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    statistics = [statistic(values[generator.integers(0, len(values), len(values))]) for _ in range(resamples)]
    low, high = np.percentile(statistics, [2.5, 97.5])
    return float(low), float(high)
