from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from onyxrank import InvalidInput, Item, Limits
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.readability import Readability, UnreadableCatalogue, readability
from onyxrank.request.unknown import count_unknown, unknown_id

THAI = ["ร่มสีม่วง", "โคมไฟ", "😀"]


@pytest.fixture
def encoder(make_tokenizer):
    return TextEncoder(make_tokenizer(), Limits())


def test_a_catalogue_in_the_vocabularys_language_is_read(encoder):
    found = readability(encoder, [Item("a", "steel tent", "camping"), Item("b", "STEEL TENT")])
    assert (found.unknown_tokens, found.unreadable_titles, found.identical_titles) == (0, 0, 0)
    assert found.titles == 2
    found.check(0.0)


def test_titles_of_another_script_are_unknown_and_identical(encoder):
    found = readability(encoder, [Item(str(place), text) for place, text in enumerate([*THAI, "tent"])])
    assert (found.titles, found.unreadable_titles, found.identical_titles) == (4, 3, 3)
    assert found.shares["unreadable_titles"] == 0.75
    with pytest.raises(UnreadableCatalogue, match=r"75\.0% of the titles.*--base.*--allow-unknown 0\.75") as refused:
        found.check(0.2)
    assert not [text for text in THAI if text in str(refused.value)]
    found.check(0.75)


def test_the_same_title_twice_is_not_made_identical(encoder):
    assert readability(encoder, [Item("a", THAI[0]), Item("b", THAI[0])]).identical_titles == 0


def test_descriptions_and_queries_count_as_tokens(encoder):
    found = readability(encoder, [Item("a", "tent", THAI[0])], [THAI[1]])
    assert found.unknown_tokens == 2
    assert found.unreadable_titles == 0


def test_counts_come_back_from_json(encoder):
    found = readability(encoder, [Item("a", "tent", THAI[0])])
    assert Readability.from_json(found.to_json()) == found


def test_no_items_have_no_share(encoder):
    readability(encoder, []).check(0.0)


@pytest.mark.parametrize("allowed", [-0.1, 1.1, float("nan")])
def test_a_limit_that_is_no_share_is_refused(encoder, allowed):
    with pytest.raises(InvalidInput, match="allow_unknown must be from 0 to 1"):
        readability(encoder, []).check(allowed)


def test_the_unknown_token_is_found_in_every_kind_of_model(make_tokenizer):
    tokenizer = make_tokenizer()
    assert unknown_id(tokenizer) == tokenizer.token_to_id("[UNK]")
    assert unknown_id(Tokenizer(models.Unigram([("<s>", 0.0), ("<unk>", 0.0)], unk_id=1))) == 1
    assert unknown_id(Tokenizer(models.BPE())) is None


def test_unknown_tokens_are_counted_in_lists_and_arrays():
    assert count_unknown([1, 3, 1], 1) == count_unknown(np.array([1, 3, 1], np.int32), 1) == 2
    assert count_unknown([1], None) == 0
