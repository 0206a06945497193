from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Cuts
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.tune.affordable import FEWEST, affordable, first_items


def request(items):
    return EncodedRequest(
        np.array([101, 7, 102], dtype=np.int32),
        Ragged.of([[5] * (1 + number % 3) for number in range(items)]),
        Cuts(),
    )


class Machine:
    """A second for each item."""

    def __init__(self):
        self.now = 0.0
        self.scored = []

    def score(self, tried):
        self.scored.append(len(tried.items))
        self.now += len(tried.items)


def cut(sizes, turns, seconds):
    machine = Machine()
    kept = affordable([request(size) for size in sizes], machine.score, turns, seconds, lambda: machine.now)
    assert machine.scored == [1, min(sizes[-1], FEWEST)]
    return [len(each.items) for each in kept]


@pytest.mark.parametrize(
    ("sizes", "turns", "seconds", "expected"),
    [
        ([100], 2, 200, [100]),
        ([100], 2, 100, [50]),
        ([40, 120], 1, 80, [20, 60]),
        ([100], 2, 1, [FEWEST]),
        ([5, 100], 2, 105, [5, 50]),
        ([5], 10, 1, [5]),
    ],
    ids=["enough", "half", "one-share-for-all", "no-fewer", "short-ones-stay", "one-short"],
)
def test_lists_are_cut_to_what_the_time_allows(sizes, turns, seconds, expected):
    assert cut(sizes, turns, seconds) == expected


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.integers(1, 40), st.floats(0.1, 1e5))
def test_what_is_cut_fits_the_time_or_is_as_short_as_lists_get(sizes, turns, seconds):
    kept = cut(sizes, turns, seconds)
    assert all(min(size, FEWEST) <= left <= size for size, left in zip(sizes, kept, strict=True))
    longer = [left for left in kept if left > FEWEST]
    assert turns * sum(longer) <= seconds * (1 + 1e-9)


@given(st.integers(1, 40), st.integers(1, 50))
def test_the_first_items_are_as_they_were(size, count):
    whole = request(size)
    part = first_items(whole, count)
    assert part.history is whole.history
    assert [list(item) for item in part.items] == [list(item) for item in whole.items][:count]
