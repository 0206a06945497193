"""Behaviour data without files: interactions from rows, and a strategy that makes up such rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from onyxrank import Item
from onyxrank_export.data.values import Interactions

Row = tuple[int, int, int]
"""User, item, behavior."""


def interactions(rows: Sequence[Row], *, users: int, items: int) -> Interactions:
    """Interactions in the order of the rows."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return Interactions(
        items=tuple(Item(f"i{number}", f"title {number}", f"text {number}") for number in range(items)),
        users=tuple(f"u{number}" for number in range(users)),
        user=columns[:, 0].astype(np.int32),
        item=columns[:, 1].astype(np.int32),
        behavior=columns[:, 2].astype(np.int8),
        timestamp=None,
        fingerprint="0",
    )


@st.composite
def seasons(draw: st.DrawFn, users: int = 4, items: int = 12) -> list[Row]:
    """Rows of several users over few items, so that repeats and zeros of bought items are common."""
    row = st.tuples(st.integers(0, users - 1), st.integers(0, items - 1), st.sampled_from([1, 1, 1, 0]))
    return draw(st.lists(row, min_size=1, max_size=60))
