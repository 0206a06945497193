"""From logits to margins, and from margins to probabilities.

A margin is the log-odds of a purchase, float32. Rankings are by margin: probabilities of large margins are the same
number in single precision, and would make ties of different items. The readout is the only place that makes
probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import BundleError

HEADS = ("softmax", "sigmoid")
"""What a model's logits mean: a softmax over two classes, the second of which is a purchase, or a sigmoid of one."""


def margins_of(logits: NDArray[Any], head: str, rows: int) -> NDArray[np.float32]:
    """Take the margins from a graph's logits.

    Args:
        logits: [rows, 2] with the head ``softmax``, [rows, 1] with ``sigmoid``; of any floating type.
        head: one of `HEADS`.
        rows: number of rows that were asked for.

    Returns:
        float32 [rows]; not finite where a logit is not.

    Raises:
        BundleError: if the logits have another shape.

    """
    expected = (rows, 2 if head == "softmax" else 1)
    if logits.shape != expected:
        raise BundleError(
            f"the graph answers logits of shape {list(logits.shape)} where the head {head!r} needs "
            f"{list(expected)}; export the bundle again"
        )
    # Differences of half-precision logits need more digits than they have.
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which the caller reports
        margins = wide[:, 1] - wide[:, 0] if head == "softmax" else wide[:, 0]
    # A finite margin beyond single precision is as large as can be told, not infinite.
    limit = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(margins), np.clip(margins, -limit, limit), margins).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Readout:
    """Makes purchase probabilities of margins: the logistic function, as the model was trained."""

    def probabilities(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 probabilities in [0, 1], of the shape of the margins; a larger margin never has a smaller one."""
        # In double precision, and cast once at the end: single precision would make ties of margins near zero.
        decay = np.exp(-np.abs(margins.astype(np.float64)))
        return (np.where(margins >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)
