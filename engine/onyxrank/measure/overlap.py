"""How much of one ranking's top another keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOP = 10


def top_overlap(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Share of the first ten places, or of the first half of a shorter list, that two scorings have in common."""
    cutoff = min(TOP, max(1, len(first) // 2))
    best = [set(np.argsort(-scores, kind="stable")[:cutoff].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / max(1, len(best[0]))
