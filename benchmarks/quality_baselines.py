"""What the recommenders of the quality table have to beat, on the same lists.

1. What needs no training: an order by chance, popularity and its reverse, BM25, cosines of the base's embeddings.
2. BM25 with rarity: negatives are drawn by popularity, so that a rare candidate is likelier to be the purchase, and
   the recipe's own negatives teach the models just that. Its weight is chosen on validation lists.
3. The encoder that the recipe trains first, by itself: the log-sum-exp of an item's cosines with the titles of the
   history.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom
from transformers import TrainerCallback, set_seed

from onyxrank_export.data.lists import CandidateList, lists_of_validation
from onyxrank_export.data.splits import BehaviourSplit, Split
from onyxrank_export.evaluation.baselines.bm25 import bm25
from onyxrank_export.evaluation.baselines.encoder import encoder
from onyxrank_export.evaluation.baselines.popularity import popularity, rarity
from onyxrank_export.evaluation.metrics import CUTOFF, per_list_metrics, probability_metrics, ranking_metrics
from onyxrank_export.training.base import resolve_base
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import contrastive_pairs
from onyxrank_export.training.encoder import train_encoder

Scores = Sequence[NDArray[np.floating]]

_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_VALIDATION_LISTS = 400


def untrained(split: Split, lists: Sequence[CandidateList]) -> Mapping[str, Callable[[], Scores]]:
    """Return systems by name, computed when they are asked for; popularity only where there are purchases."""
    items = split.data.items
    systems: dict[str, Callable[[], Scores]] = {
        "bm25": lambda: bm25(items)(lists),
        "embeddings": lambda: encoder(items)(lists),
    }
    if isinstance(split, BehaviourSplit):
        systems |= {
            "popularity": lambda: popularity(split.popularity)(lists),
            "rarity": lambda: rarity(split.popularity)(lists),
            "bm25_rarity": lambda: bm25_and_rarity(split, lists),
        }
    return systems


def chance(lists: Sequence[CandidateList]) -> dict[str, NDArray[np.float64]]:
    """Return the metrics to expect of each list by chance, with the share of positives as the score."""
    labels = [row.labels for row in lists]
    share = float(np.mean(np.concatenate(labels) >= 0.5))
    even = [np.full(len(row), share) for row in labels]
    figures = per_list_metrics(labels, even)  # AUC and NDCG take the mean over the orders of equal scores
    hit = np.array([1 - hypergeom.pmf(0, len(row), np.sum(row >= 0.5), min(CUTOFF, len(row))) for row in labels])
    return {
        "auc": figures["auc"],
        "ndcg_at_10": figures["ndcg_at_10"],
        "hit_rate_at_10": np.where(np.isnan(figures["hit_rate_at_10"]), np.nan, hit),
        "log_loss": log_losses(labels, even),
    }


def log_losses(labels: Sequence[NDArray[np.float32]], scores: Scores) -> NDArray[np.float64]:
    """Return the mean log loss of each list's probabilities."""
    return np.array([probability_metrics(*row)["log_loss"] for row in zip(labels, scores, strict=True)])


def bm25_and_rarity(split: BehaviourSplit, lists: Sequence[CandidateList]) -> list[NDArray[np.float64]]:
    """Score by BM25 less a multiple of the log of an item's training purchases."""

    def parts(rows: Sequence[CandidateList]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        counts = popularity(split.popularity)(rows)
        return list(zip(bm25(split.data.items)(rows), map(np.log1p, counts), strict=True))

    validation = lists_of_validation(split, most=_VALIDATION_LISTS)
    known, labels = parts(validation), [row.labels for row in validation]

    def quality(weight: float) -> float:
        return ranking_metrics(labels, [words - weight * often for words, often in known])["ndcg_at_10"]

    best = max(_WEIGHTS, key=quality)
    return [words - best * often for words, often in parts(lists)]


def encoder_scores(
    split: Split,
    lists: Sequence[CandidateList],
    config: TrainingConfig,
    callbacks: Sequence[TrainerCallback] = (),
) -> list[NDArray[np.float32]]:
    """Train the encoder as a training does before the recommender, and rank the lists with it alone."""
    set_seed(config.seed)
    texts = [text for item in split.data.items for text in (item.title, item.description)]
    base = resolve_base(config.base, texts, seed=config.seed, dropout=config.dropout)
    validation = lists_of_validation(split, most=config.validation_lists)
    with tempfile.TemporaryDirectory() as folder:
        pairs = contrastive_pairs(split, config)
        similarity, _ = train_encoder(base, split, pairs, validation, lists, config, Path(folder), callbacks)
    return [similarity.margins(row) for row in lists]
