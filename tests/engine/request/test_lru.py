from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onyxrank.request.lru import Lru


def test_what_was_used_last_is_kept():
    kept = Lru(30)
    kept.keep([("a", 1, 10), ("b", 2, 10), ("c", 3, 10)])
    assert kept.find(["a"]) == [1]
    kept.keep([("d", 4, 10)])
    assert kept.find(["a", "b", "c", "d"]) == [1, None, 3, 4]
    assert kept.facts() == {"entries": 3, "bytes": 30, "max_bytes": 30, "hits": 4, "misses": 1}


def test_a_key_kept_again_counts_once():
    kept = Lru(100)
    kept.keep([("a", 1, 10), ("a", 2, 30)])
    assert kept.find(["a"]) == [2]
    assert kept.facts()["bytes"] == 30


def test_what_is_too_large_is_not_kept():
    kept = Lru(5)
    kept.keep([("a", 1, 5), ("b", 2, 6)])
    assert kept.find(["a", "b"]) == [1, None]
    none = Lru(0)
    none.keep([("a", 1, 1)])
    assert none.find(["a"]) == [None]


def test_cleared_it_holds_nothing():
    kept = Lru(5)
    kept.keep([("a", 1, 5)])
    kept.clear()
    assert kept.find(["a"]) == [None]
    assert kept.facts()["entries"] == kept.facts()["bytes"] == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20))), st.integers(0, 50))
def test_its_bytes_stay_in_their_bounds_and_are_those_of_what_it_holds(entries, most):
    kept = Lru(most)
    for key, size in entries:
        kept.keep([(key, size, size)])
        facts = kept.facts()
        held = [size for size in kept.find(range(10)) if size is not None]
        assert facts["bytes"] == sum(held) <= most
        assert facts["entries"] == len(held)
