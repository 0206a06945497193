"""Margins to probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def probabilities(logits: NDArray[np.float32], head: str) -> NDArray[np.float32]:
    """Turn finite logits [rows, 2] (``softmax``) or [rows, 1] (``sigmoid``) into probabilities [rows]."""
    # In double precision, cast once at the end: a half-precision sigmoid makes ties of different logits.
    wide = logits.astype(np.float64)
    margin = wide[:, 1] - wide[:, 0] if head == "softmax" else wide[:, 0]
    decay = np.exp(-np.abs(margin))
    return (np.where(margin >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)
