"""Popularity: what is bought most comes first; and its reverse, rarity.

Where negatives are drawn by popularity a purchase is likelier than they are to be something rare, so that rarity
alone ranks better than chance there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.evaluation.baselines.scorer import Scorer


def popularity(purchases: NDArray[np.int64]) -> Scorer:
    """Score candidates by how often they were bought in training: int64 [items] of the whole catalogue."""
    return lambda lists: [purchases[row.items].astype(np.float64) for row in lists]


def rarity(purchases: NDArray[np.int64]) -> Scorer:
    """Score candidates by how seldom they were bought in training: int64 [items] of the whole catalogue."""
    return lambda lists: [-purchases[row.items].astype(np.float64) for row in lists]
