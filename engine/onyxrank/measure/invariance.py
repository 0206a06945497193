"""How far a score depends on what else is in the list: quantization with scales per run makes it do so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onyxrank.architectures.base import Architecture
from onyxrank.request.token_ids import EncodedRequest, Ragged

BATCH_INVARIANT = 1e-5
"""Largest change of a probability that still counts as the same score."""


def batch_deviation(
    architecture: Architecture, requests: Sequence[EncodedRequest], *, most_items: int | None = None
) -> float:
    """Largest difference of a probability between an item scored alone and in its list.

    Args:
        architecture: scores them.
        requests: the lists.
        most_items: of each list to score alone; all if None.

    """
    deviation = 0.0
    for request in requests:
        together = architecture.score([request])[0]
        for index, score in enumerate(together[:most_items]):
            row = request.items[index]
            lone = EncodedRequest(request.history, Ragged(row, np.array([0, len(row)], np.int64)), request.cuts)
            deviation = max(deviation, abs(float(architecture.score([lone])[0][0]) - float(score)))
    return deviation
