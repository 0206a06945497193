"""How much of one ranking's top another keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOP = 10


def top_overlap(first: NDArray[np.floating], second: NDArray[np.floating], cutoff: int = TOP) -> float:
    """Share of the first `cutoff` places that two scorings of one list have in common."""
    best = [set(np.argsort(-scores, kind="stable")[:cutoff].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / max(1, len(best[0]))
