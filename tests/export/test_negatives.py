from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank_export.data.negatives import Sampler


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.integers(0, 15),
    st.frozensets(st.integers(0, 11)),
    st.integers(0, 99),
)
def test_draws_are_different_allowed_and_as_many_as_there_are(weights, count, excluded, seed):
    if not sum(weights):
        weights[0] = 1
    drawn = Sampler(np.array(weights), np.random.default_rng(seed)).draw(count, excluded)
    allowed = {item for item, weight in enumerate(weights) if weight and item not in excluded}
    assert set(drawn) <= allowed
    assert len(drawn) == len(set(drawn)) == min(count, len(allowed))


def test_draws_without_replacement_follow_the_weights():
    """Against the definition: the first by weight, the next by weight of what is left."""
    weights, times = np.array([5, 1, 0, 3, 1]), 4000
    sampler = Sampler(weights, np.random.default_rng(0))
    found = Counter(tuple(sampler.draw(2, frozenset({4}))) for _ in range(times))
    left = {0: 5, 1: 1, 3: 3}
    for first, weight in left.items():
        for second, other in left.items():
            if first != second:
                expected = weight / 9 * other / (9 - weight)
                assert found[first, second] / times == pytest.approx(expected, abs=0.03)
    assert sum(found.values()) == times


@pytest.mark.parametrize("share", [1e9, 1e18])
def test_draws_end_where_one_item_has_nearly_all_the_weight(share):
    weights = np.array([share, 5, 1, 0, 3, 1])
    sampler = Sampler(weights, np.random.default_rng(0))
    first = Counter(tuple(sorted(sampler.draw(2, frozenset({0})))) for _ in range(2000))
    assert set(first) == {(1, 2), (1, 4), (1, 5), (2, 4), (2, 5), (4, 5)}
    # By weight without replacement: 5 then 3 or 3 then 5, of 10.
    assert first[1, 4] / 2000 == pytest.approx(0.5 * 3 / 5 + 0.3 * 5 / 7, abs=0.04)
    assert sorted(sampler.draw(5, frozenset())) == [0, 1, 2, 4, 5]


@given(st.lists(st.integers(1, 5), min_size=6, max_size=6), st.permutations(range(6)), st.integers(0, 99))
def test_draws_by_place_do_not_depend_on_the_order_of_the_items(weights, order, seed):
    """The item that stands at `place` is drawn, wherever the file has it."""
    places = np.array(order)
    moved = np.empty(6, np.int64)
    moved[places] = weights  # the weights in the order of the places
    one = Sampler(np.array(weights), np.random.default_rng(seed), places)
    other = Sampler(moved, np.random.default_rng(seed))
    for count in (1, 3, 6):
        assert [int(places[item]) for item in one.draw(count, frozenset())] == other.draw(count, frozenset())
