"""Whether an answer is that of its own request."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

TOLERANCE = 1e-5


def is_own(answer: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Say whether an answer holds every item of its request once, sorted, with the bare engine's scores.

    Args:
        answer: of ``/v1/rank``.
        wanted: the request's ``body``, and ``scores`` in the order of its items.

    """
    results, scores, items = answer["results"], wanted["scores"], wanted["body"]["items"]
    if sorted(row["index"] for row in results) != list(range(len(scores))):
        return False
    if any(one["score"] < after["score"] for one, after in pairwise(results)):
        return False
    return all(
        abs(row["score"] - scores[row["index"]]) <= TOLERANCE and row["id"] == items[row["index"]]["id"]
        for row in results
    )
