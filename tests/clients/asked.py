"""What every client asks, and what the ranker itself says to it."""

from __future__ import annotations

import numpy as np

KEY = "key-of-the-clients-01"
QUERY = "steel tent pegs"
TEXTS = ["red tent for the garden", "desk lamp", "dog leash", "steel cable, light", "wool yarn", "camping stove"]
TOLERANCE = 1e-5


def expected(ranker, items=TEXTS):
    """Indices best first, and scores in that order."""
    scores = ranker.score(QUERY, items)
    order = np.argsort(-scores, kind="stable")
    return order.tolist(), scores[order].tolist()
