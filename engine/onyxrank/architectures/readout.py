"""Makes margins of logits, and probabilities of margins.

A margin is the log-odds of a purchase, float32. Rankings are by margin, because the probabilities of different large
margins are the same number in single precision, so that different items would tie. The readout is the only place that
makes probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import BundleError

HEADS = ("softmax", "sigmoid")
"""How logits become a probability: a softmax over two, of which the second is for a purchase, or a sigmoid of one."""


def margins_of(logits: NDArray[Any], head: str, rows: int) -> NDArray[np.float32]:
    """Take the margins from a graph's logits.

    Args:
        logits: what the graph answered, of any floating type: [rows, 2] with the head ``softmax``, [rows, 1] with
            ``sigmoid``.
        head: one of `HEADS`.
        rows: number of rows that the graph was given.

    Returns:
        float32 [rows]; a margin is not finite where one of its logits is not.

    Raises:
        BundleError: if the logits have another shape.

    """
    expected = (rows, 2 if head == "softmax" else 1)
    if logits.shape != expected:
        raise BundleError(
            f"the graph answers logits of shape {list(logits.shape)} where the head {head!r} needs "
            f"{list(expected)}; export the bundle again"
        )
    # The difference of two half-precision numbers can need more digits than half precision has.
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which the caller reports
        margins = wide[:, 1] - wide[:, 0] if head == "softmax" else wide[:, 0]
    # A finite margin too large for single precision becomes its largest number, since infinity would be an error.
    limit = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(margins), np.clip(margins, -limit, limit), margins).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Readout:
    """Makes purchase probabilities of margins with the logistic function, as in training."""

    def probabilities(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 probabilities in [0, 1] of the margins' shape; a larger margin never gets a smaller one."""
        # Computed in double precision and cast once at the end: in single precision, margins near zero would tie.
        decay = np.exp(-np.abs(margins.astype(np.float64)))
        return (np.where(margins >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)
