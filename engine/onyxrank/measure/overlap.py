"""Compares the first places of two rankings of the same items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOP = 10
"""Number of first places that are compared in lists that are long enough."""


def top_overlap(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the share of their first places that two rankings have in common.

    The first places are the first ten, or the first half of a list of fewer than twenty items.

    Args:
        first: the scores that one model gives the items.
        second: the scores that the other model gives the same items, in the same order.

    """
    cutoff = min(TOP, max(1, len(first) // 2))
    best = [set(np.argsort(-scores, kind="stable")[:cutoff].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / max(1, len(best[0]))
