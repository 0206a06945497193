"""Measures how far an item's score depends on the other items of its list.

It does so with dynamic quantization, which takes the scale of its integers from all rows that run together.
"""

from __future__ import annotations

from collections.abc import Sequence

from onyxrank.architectures.base import Architecture
from onyxrank.request.token_ids import EncodedRequest

BATCH_INVARIANT = 1e-5
"""Largest change of a probability at which two scores still count as the same."""


def batch_deviation(
    architecture: Architecture, requests: Sequence[EncodedRequest], *, most_items: int | None = None
) -> float:
    """Return the largest difference between an item's probabilities when scored alone and when scored in its list.

    Args:
        architecture: the model that scores the items.
        requests: the lists.
        most_items: number of items of each list to score alone, or None for all.

    """
    deviation = 0.0
    for request in requests:
        together = architecture.score([request])[0]
        for index, score in enumerate(together[:most_items]):
            alone = request.picked(slice(index, index + 1))
            architecture.states.clear()  # what was computed in the batch must not be found again
            deviation = max(deviation, abs(float(architecture.score([alone])[0][0]) - float(score)))
    return deviation
