from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Cuts, InvalidInput, Limits
from onyxrank.request.truncation import fit_history, fit_item

tokens = st.lists(st.integers(0, 9), max_size=8)
separators = st.lists(st.just(-1), max_size=2)


def slow_fit_history(events, separator, limit):
    """Try every number of newest events, most first."""
    for count in range(len(events), 0, -1):
        joined = []
        for event in events[len(events) - count :]:
            joined += (separator if joined else []) + event
        if len(joined) <= limit:
            return joined, len(events) - count
    return (events[-1][-limit:], len(events)) if events else ([], 0)


# An event of no tokens is charged for its separator whether or not one is written, hence min_size=1.
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), max_size=8), separators, st.integers(1, 30))
def test_fit_history_equals_the_slow_reference(events, separator, limit):
    assert fit_history(events, separator, limit) == slow_fit_history(events, separator, limit)


@given(st.lists(tokens, max_size=8), separators, st.integers(1, 30))
def test_fit_history_never_exceeds_the_limit(events, separator, limit):
    joined, cut = fit_history(events, separator, limit)
    assert len(joined) <= limit
    assert 0 <= cut <= len(events)


@given(tokens, tokens, st.integers(1, 20))
def test_fit_item_equals_the_slow_reference(title, description, limit):
    kept, title_cut, description_cut = fit_item(title, description, limit)
    assert kept == (title + description)[:limit]
    assert title_cut == (kept[: len(title)] != title)
    assert description_cut == (len(kept) < len(title[:limit]) + len(description))


@pytest.mark.parametrize("field", ["history_tokens", "item_tokens"])
@pytest.mark.parametrize("value", [0, -1, True, 2.0, None], ids=repr)
def test_limits_are_checked(field, value):
    with pytest.raises(InvalidInput) as caught:
        Limits(**{field: value})
    assert caught.value.field == field


def test_limits_count_the_template():
    assert Limits(history_tokens=10, item_tokens=5).sequence_tokens == 18


def test_cuts_add_up_and_are_true_when_something_was_cut():
    assert not Cuts()
    assert Cuts(titles=1) + Cuts(titles=2, history_events=3) == Cuts(titles=3, history_events=3)
    assert Cuts(descriptions=1)


def test_limits_of_numpys_numbers_are_of_pythons():
    limits = Limits(history_tokens=np.int64(7), item_tokens=np.int32(5))
    assert json.dumps([limits.history_tokens, limits.item_tokens]) == "[7, 5]"
