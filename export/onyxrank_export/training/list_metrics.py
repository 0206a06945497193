"""The figures of an evaluation during training: ranking and probability metrics over the validation lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from transformers import EvalPrediction

from onyxrank.architectures.readout import Readout, margins_of
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.metrics import probability_metrics, ranking_metrics
from onyxrank_export.training.dataset import pieces, split_like
from onyxrank_export.training.run import RunError

EVALUATED_TOGETHER = 10
"""Most candidates of one list that are evaluated in one element of a batch."""


def list_metrics(lists: Sequence[CandidateList]) -> Callable[[EvalPrediction], dict[str, float]]:
    """The Trainer's metric function over the `pieces` of all lists, in order.

    The function takes predictions float [pieces, longest, 2]; what stands after a piece's last candidate is padding
    and is not read. It gives the metrics of `ranking_metrics` and `probability_metrics` by name.

    Raises:
        RunError: (by the function) if a logit is NaN or infinity.

    """
    labels = [row.labels for row in lists]
    sizes = [len(piece.items) for piece in pieces(lists, EVALUATED_TOGETHER)]

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        padded = np.asarray(prediction.predictions, np.float32)
        logits = np.concatenate([row[:size] for row, size in zip(padded, sizes, strict=True)])
        if not np.isfinite(logits).all():
            raise RunError("the training diverged: the model answers NaN or infinity; lower the learning rate")
        scores = Readout().probabilities(margins_of(logits, "softmax", len(logits)))
        return ranking_metrics(labels, split_like(scores, lists)) | probability_metrics(
            np.concatenate(labels), scores
        )

    return compute
