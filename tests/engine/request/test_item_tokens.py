from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import InvalidInput, Item, Limits, Ranker
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.item_tokens import ItemTokens

LIMITS = Limits(history_tokens=12, item_tokens=6)
TEXTS = ["tent", "steel tent pegs", "desk lamp for the office", "red and blue wool yarn", "coffee " * 300, ""]
items_of = st.lists(st.tuples(st.sampled_from(TEXTS[:-1]), st.sampled_from(TEXTS)), max_size=8)


@pytest.fixture(scope="module")
def plain(make_tokenizer):
    return TextEncoder(make_tokenizer(), LIMITS)


def caching(make_tokenizer, max_bytes=2**20):
    return TextEncoder(make_tokenizer(), LIMITS, cache=ItemTokens(max_bytes))


def made(pairs):
    return [Item(str(number), title, description) for number, (title, description) in enumerate(pairs)]


@given(st.lists(items_of, max_size=4), st.sampled_from([0, 600, 2**20]))
def test_any_requests_in_a_row_are_encoded_as_without_it(plain, make_tokenizer, requests, max_bytes):
    encoder = caching(make_tokenizer, max_bytes)
    for pairs in requests:
        mine, expected = (each.encode(["steel tent"], made(pairs)) for each in (encoder, plain))
        np.testing.assert_array_equal(mine.items.ids, expected.items.ids)
        np.testing.assert_array_equal(mine.items.offsets, expected.items.offsets)
        np.testing.assert_array_equal(mine.history, expected.history)
        assert mine.cuts == expected.cuts


def test_an_item_seen_before_is_not_tokenized_again(make_tokenizer, monkeypatch):
    encoder = caching(make_tokenizer)
    read = []
    monkeypatch.setattr(encoder, "_ids", lambda texts, ids=encoder._ids: read.append(list(texts)) or ids(texts))
    first = [Item("1", "tent", "red"), Item("2", "lamp")]
    encoder.encode(["desk"], first)
    read.clear()
    encoder.encode(["desk"], [Item("9", "tent", "red"), Item("3", "stove")])
    assert [text for texts in read for text in texts] == ["stove", "", "desk"]
    assert encoder.facts()["item_cache"] | {"bytes": 0, "max_bytes": 0} == {
        "entries": 3, "bytes": 0, "max_bytes": 0, "hits": 1, "misses": 3,
    }  # fmt: skip


def test_an_item_whose_text_changes_is_read_anew(plain, make_tokenizer):
    encoder = caching(make_tokenizer)
    encoder.encode([], [Item("1", "tent", "red")])
    changed = encoder.encode([], [Item("1", "tent", "blue")])
    np.testing.assert_array_equal(changed.items.ids, plain.encode([], [Item("1", "tent", "blue")]).items.ids)


def test_a_fault_names_the_place_among_all_items_and_nothing_of_it_is_kept(make_tokenizer):
    encoder = caching(make_tokenizer)
    encoder.encode([], [Item("1", "tent"), Item("2", "lamp")])
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"items\[2\]\.title") as caught:
            encoder.encode([], [Item("1", "tent"), Item("2", "lamp"), Item("3", "\x00\x01"), Item("4", "stove")])
        assert caught.value.index == 2
    assert encoder.facts()["item_cache"]["entries"] == 2


def test_threads_with_few_items_in_common(plain, make_tokenizer):
    encoder = caching(make_tokenizer, 2_000)
    lists = [made([(TEXTS[(seed + n) % 5], TEXTS[(seed * n) % 6]) for n in range(7)]) for seed in range(300)]
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda items: encoder.encode(["tent"], items), lists))
    for items, answer in zip(lists, answers, strict=True):
        np.testing.assert_array_equal(answer.items.ids, plain.encode(["tent"], items).items.ids)


def test_a_ranker_scores_alike_with_and_without_and_says_what_it_keeps(tiny_bundle):
    items = [Item("a", "tent", "steel pegs"), Item("b", "lamp"), Item("a", "tent", "steel pegs")]
    with Ranker.load(tiny_bundle) as ranker, Ranker.load(tiny_bundle, item_cache_bytes=0) as without:
        expected = without.score("desk", items)
        for _ in range(3):
            np.testing.assert_array_equal(ranker.score("desk", items), expected)
        facts = ranker.info()["item_cache"]
        assert (facts["entries"], facts["hits"], facts["misses"]) == (2, 6, 3)
        assert 0 < facts["bytes"] <= facts["max_bytes"]
        assert "item_cache" not in without.info()


@pytest.mark.parametrize("most", [-1, True, 1.5, "2"])
def test_its_size_is_a_count(tiny_bundle, most):
    with pytest.raises(InvalidInput) as caught:
        Ranker.load(tiny_bundle, item_cache_bytes=most)
    assert caught.value.field == "item_cache_bytes"
