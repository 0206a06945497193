from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Item, Limits
from onyxrank.request.apart import ApartEncoder, first_kept
from onyxrank.request.known import NEW, KnownItems


@pytest.fixture
def encoder(make_tokenizer):
    known = KnownItems.of([Item("a", "steel tent"), Item("b", "desk lamp")], np.array([3, 1]))
    return ApartEncoder(make_tokenizer(), Limits(history_tokens=6, item_tokens=3), known)


def texts(ragged, encoder):
    return [
        encoder._tokenizer.decode(ragged[index].tolist(), skip_special_tokens=False) for index in range(len(ragged))
    ]


def test_events_and_items_are_texts_of_their_own(encoder):
    request = encoder.encode(["steel tent", "wool"], [Item("b", "lamp", "small and red"), Item("x", "steel tent")])
    assert texts(request.events.texts, encoder) == ["[CLS] steel tent [SEP]", "[CLS] wool [SEP]"]
    assert texts(request.items, encoder) == ["[CLS] lamp small and [SEP]", "[CLS] steel tent [SEP]"]
    assert request.events.places.tolist() == [0, NEW]
    assert request.places.tolist() == [1, 0]
    assert request.cuts.descriptions == 1
    assert request.history.tolist() == request.events.texts.ids.tolist()
    assert not request.cold


def test_the_newest_events_are_kept_and_long_titles_cut(encoder):
    request = encoder.encode(["red blue green large small", "wool", "steel tent", "desk lamp"], [Item("b", "lamp")])
    assert texts(request.events.texts, encoder)[-2:] == ["[CLS] steel tent [SEP]", "[CLS] desk lamp [SEP]"]
    assert len(request.events.texts) == 3
    assert request.cuts.history_events == 1
    [only] = texts(encoder.encode(["red blue green large small"], []).events.texts, encoder)
    assert only == "[CLS] red blue green [SEP]"


def test_an_empty_history_is_cold(encoder):
    request = encoder.encode([], [Item("b", "lamp")])
    assert request.cold
    assert len(request.events.texts) == 0


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 40))
def test_no_event_that_fits_is_left_out(lengths, limit):
    first = first_kept(lengths, limit)
    kept = lengths[first:]
    assert sum(kept) <= limit or len(kept) == 1
    assert bool(kept) == bool(lengths)
    if first:
        assert sum(lengths[first - 1 :]) > limit
