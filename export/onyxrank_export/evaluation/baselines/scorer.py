"""What a baseline is: a function from lists to scores; and the choice of its settings on validation lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.metrics import ranking_metrics

Scorer: TypeAlias = Callable[[Sequence[CandidateList]], list[NDArray[np.floating]]]
"""Scores the candidates of lists: float [candidates] for each list; larger is better."""

S = TypeVar("S")


def best_by_validation(
    settings: Iterable[S], make: Callable[[S], Scorer], validation: Sequence[CandidateList]
) -> tuple[S, Scorer]:
    """Choose the setting whose scorer has the highest NDCG@10 on validation lists; the first of equal ones."""
    labels = [row.labels for row in validation]
    best: tuple[float, S, Scorer] | None = None
    for setting in settings:
        scorer = make(setting)
        quality = ranking_metrics(labels, scorer(validation))["ndcg_at_10"]
        if best is None or quality > best[0]:
            best = quality, setting, scorer
    assert best is not None
    return best[1], best[2]
