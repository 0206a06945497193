from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank.architectures.shared_history import HistoryState
from onyxrank.architectures.state_cache import StateCache

ENTRY = 24  # bytes of `state()`


def ids(*tokens):
    return np.array(tokens, dtype=np.int32)


def state(value=0.0):
    return HistoryState(np.full((1, 1, 2, 2), value, np.float32), np.full((1, 1, 2, 1), value, np.float32))


def test_what_was_put_is_found_by_its_ids_alone():
    cache = StateCache(64 * 2**20)
    kept = state()
    cache.put(ids(1, 2, 3), kept)
    assert cache.get(ids(1, 2, 3)) is kept
    assert cache.get(np.array([1, 2, 3], np.int64)) is kept
    for other in (ids(1, 2), ids(1, 2, 3, 0), ids(3, 2, 1), ids()):
        assert cache.get(other) is None
    assert cache.facts() == {"entries": 1, "bytes": ENTRY, "max_bytes": 64 * 2**20, "hits": 2, "misses": 4}


def test_the_history_not_used_for_the_longest_goes_first():
    cache = StateCache(2 * ENTRY)
    cache.put(ids(1), state())
    cache.put(ids(2), state())
    assert cache.get(ids(1)) is not None
    cache.put(ids(3), state())
    assert [cache.get(ids(number)) is not None for number in (1, 2, 3)] == [True, False, True]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 5 * ENTRY))
def test_the_bytes_stay_within_the_budget_and_are_counted_right(puts, budget):
    cache = StateCache(budget)
    for number in puts:
        cache.put(ids(number), state())
        facts = cache.facts()
        assert facts["bytes"] == facts["entries"] * ENTRY <= budget
    cache.clear()
    assert cache.facts()["bytes"] == cache.facts()["entries"] == 0


def test_a_budget_of_nothing_keeps_nothing():
    cache = StateCache(0)
    cache.put(ids(1), state())
    assert cache.get(ids(1)) is None
    assert cache.facts()["misses"] == 1


def test_what_is_larger_than_the_budget_does_not_drive_the_others_out():
    cache = StateCache(2 * ENTRY)
    cache.put(ids(1), state())
    cache.put(ids(2), HistoryState(np.zeros((9, 9, 9, 9), np.float32), np.zeros((1, 1, 1, 1), np.float32)))
    assert cache.get(ids(1)) is not None
    assert cache.get(ids(2)) is None


def test_nothing_that_was_read_is_held_in_the_clear():
    secret, other = StateCache(64 * 2**20), StateCache(64 * 2**20)
    history = ids(7, 7, 7)
    for cache in (secret, other):
        cache.put(history, state())
    [key], [same_history] = secret._kept._kept, other._kept._kept
    assert history.tobytes() not in key
    assert key != same_history  # a digest anyone can compute would give a guessed history away


def test_threads_never_get_another_history():
    cache = StateCache(8 * ENTRY)
    shoppers = (np.random.default_rng(0).geometric(0.12, 4000) % 40).tolist()

    def use(shopper):
        history = ids(shopper)
        found = cache.get(history)
        if found is None:
            found = state(float(shopper))
            cache.put(history, found)
        return float(found.keys[0, 0, 0, 0])

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(use, shoppers)) == pytest.approx(shoppers)
    facts = cache.facts()
    assert facts["hits"] + facts["misses"] == 4000
    assert min(facts["hits"], facts["misses"]) > 400
    assert facts["bytes"] == facts["entries"] * ENTRY <= 8 * ENTRY
