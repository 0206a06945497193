from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Cuts, InvalidInput, Item, Limits
from onyxrank.request.apart import ApartEncoder
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.items import MOST_EVENTS, to_events
from onyxrank.request.known import KnownItems

LIMITS = Limits(history_tokens=8, item_tokens=3)
words = st.one_of(
    st.sampled_from(["desk", "lamp", "tent", "zzzz", "steel-red", "", "é", "テント", "\U0001f600", "\x00", "\t"]),
    st.text(max_size=30),
    st.sampled_from(["x" * 120, "desk" * 10]),
)
texts = st.lists(words, max_size=40).map(" ".join).filter(lambda text: text.strip() and _encodable(text))


def _encodable(text):
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


@pytest.fixture(scope="module")
def encoders(make_tokenizer):
    return tuple(TextEncoder(make_tokenizer(), LIMITS, prefix_safe=safe) for safe in (True, False))


@given(title=texts, description=texts)
def test_a_shortened_text_encodes_like_the_whole(encoders, title, description):
    shortening, whole = encoders
    item = Item("a", title, description)
    try:
        expected = whole.encode([], [item])
    except InvalidInput:
        with pytest.raises(InvalidInput):
            shortening.encode([], [item])
        return
    encoded = shortening.encode([], [item])
    assert encoded.items[0].tolist() == expected.items[0].tolist()
    assert encoded.cuts == expected.cuts


def test_a_long_text_is_really_shortened(encoders):
    text = "desk lamp " * 1000
    assert len(encoders[0]._shorten(text, 3)) < 40
    assert encoders[1]._shorten(text, 3) == text


def test_a_shortened_text_that_underfills_is_tokenized_whole(encoders):
    # All that is left of the beginning is one token; the rest lies behind the cut.
    title = "desk" + "\x00" * 30 + " " + "\x00" * 60 + "lamp tent red"
    assert (
        encoders[0].encode([], [Item("a", title)]).items[0].tolist()
        == encoders[1].encode([], [Item("a", title)]).items[0].tolist()
    )


def test_layout_of_a_pair(encoders, make_tokenizer):
    identity = make_tokenizer().token_to_id
    encoded = encoders[0].encode(["tent", "red lamp"], [Item("a", "desk", "chair")])
    assert encoded.history.tolist() == [identity(token) for token in ("[CLS]", "tent", ";", "red", "lamp", "[SEP]")]
    assert encoded.items[0].tolist() == [identity(token) for token in ("desk", "chair", "[SEP]")]
    assert encoded.cuts == Cuts()
    assert len(encoded.items) == 1


def test_special_tokens_in_a_text_are_ordinary_characters(encoders, make_tokenizer):
    separator = make_tokenizer().token_to_id("[SEP]")
    ids = encoders[0].encode(["[SEP]"], [Item("a", "[SEP]")])
    assert ids.history.tolist().count(separator) == 1
    assert ids.items[0].tolist().count(separator) == 1


def test_parts_that_training_uses_equal_the_whole(encoders):
    encoder = encoders[0]
    events, item = ["tent red", "desk"], Item("a", "lamp", "wool yarn and more")
    whole = encoder.encode(events, [item])
    title, description = encoder.token_ids([item.title, item.description])
    assert encoder.fit_item(title, description) == whole.items[0].tolist()
    assert encoder.fit_history(encoder.token_ids(events))[0] == whole.history.tolist()


def test_a_tokenizer_without_the_special_tokens_is_refused(make_tokenizer):
    with pytest.raises(InvalidInput, match=r"no \[CLS\] or <s>") as caught:
        TextEncoder(make_tokenizer(), LIMITS, sep_token="<s>")
    assert caught.value.field == "tokenizer"


class Counting(TextEncoder):
    """Counts the texts that reach the tokenizer."""

    read = 0

    def _ids(self, texts):
        self.read += len(texts)
        return super()._ids(texts)


class CountingApart(Counting, ApartEncoder):
    """Counts them for a model that reads events apart."""


NONE_KNOWN = KnownItems.of([], np.zeros(0, np.int64))


def counting(tokenizer, apart, limits=LIMITS):
    return CountingApart(tokenizer, limits, NONE_KNOWN) if apart else Counting(tokenizer, limits)


@pytest.mark.parametrize("apart", [False, True])
def test_of_a_long_history_only_the_newest_events_are_tokenized(make_tokenizer, apart):
    encoder = counting(make_tokenizer(), apart)
    encoder.read = 0
    encoded = encoder.encode(["a"] * 50_000, [Item("a", "desk")])
    assert encoder.read < 100
    assert encoder.encode_history(["a"] * 50_000).ids.tolist() == encoded.history.tolist()
    assert encoded.cuts.history_events > 49_900


@pytest.mark.parametrize("apart", [False, True])
@given(events=st.lists(st.one_of(words, texts), max_size=60))
def test_a_history_read_from_its_end_is_the_whole(make_tokenizer, apart, events):
    encoder = counting(make_tokenizer(), apart)
    read = encoder.encode_history(events)
    whole, _ = encoder._encoded_history(events, encoder.token_ids(events))
    assert read.ids.tolist() == whole.ids.tolist()
    assert read.cuts == whole.cuts


def test_a_history_of_too_many_events_is_refused():
    assert len(to_events(["a"] * MOST_EVENTS)) == MOST_EVENTS
    with pytest.raises(InvalidInput, match="more than 100000 events") as caught:
        to_events(["a"] * (MOST_EVENTS + 1))
    assert caught.value.field == "history"
