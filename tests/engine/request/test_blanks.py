"""Lists of which some items have no text, ranked with a real ranker."""

from __future__ import annotations

import pytest

from onyxrank import InvalidInput, Item, NonFiniteScore, Ranker
from onyxrank.request.blanks import NO_MARGIN, WithBlanks, rank_with_blanks

TITLES = ["desk lamp", "", "camping stove", " \t", "steel tent pegs", "\x00\x01"]
BLANK = [1, 3, 5]


@pytest.fixture(scope="module")
def ranker(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=1) as loaded:
        yield loaded


def ranked(ranker, items, top_k=None):
    return rank_with_blanks(items, lambda readable: ranker.rank("tent", readable, top_k), top_k)


def test_items_without_a_text_come_last_in_input_order(ranker):
    ranking = ranked(ranker, TITLES)
    alone = ranker.rank("tent", [TITLES[index] for index in (0, 2, 4)])
    assert [hit.index for hit in ranking] == [(0, 2, 4)[hit.index] for hit in alone] + BLANK
    assert [hit.score for hit in ranking] == [hit.score for hit in alone] + [0.0] * 3
    assert [hit.rank for hit in ranking] == [1, 2, 3, 4, 5, 6]
    assert [(hit.id, hit.item.title) for hit in ranking] == [(str(hit.index), TITLES[hit.index]) for hit in ranking]
    assert ranking.total == len(TITLES)
    assert {hit.margin for hit in ranking[3:]} == {NO_MARGIN}


@pytest.mark.parametrize("top_k", [1, 3, 4, 10])
def test_no_more_than_asked(ranker, top_k):
    ranking = ranked(ranker, TITLES, top_k)
    assert [hit.index for hit in ranking] == [hit.index for hit in ranked(ranker, TITLES)][:top_k]
    assert ranking.total == len(TITLES)


def test_with_a_text_everywhere_the_ranking_is_the_rankers(ranker):
    titles = [title for index, title in enumerate(TITLES) if index not in BLANK]
    assert ranked(ranker, titles) == ranker.rank("tent", titles)


def test_nothing_but_blanks(ranker):
    ranking = ranked(ranker, ["", " ", "\x00"])
    assert [(hit.index, hit.score) for hit in ranking] == [(0, 0.0), (1, 0.0), (2, 0.0)]
    assert ranked(ranker, []).total == 0


@pytest.mark.parametrize("title", ["", " ", "\x00"])
def test_a_description_is_enough(ranker, title):
    items = [Item("a", "desk lamp"), Item("b", title, "camping stove")]
    scores = {hit.id: hit.score for hit in ranked(ranker, items)}
    alone = {hit.id: hit.score for hit in ranker.rank("tent", [items[0], Item("b", "camping stove")])}
    assert scores == alone
    assert ranked(ranker, [Item("b", title, "\x00")])[0].score == 0.0


def test_an_error_names_the_place_among_all_items(ranker):
    with pytest.raises(InvalidInput, match=r"items\[3\]\.title has a lone surrogate") as caught:
        ranked(ranker, ["", "a", " ", "\ud800"])
    assert (caught.value.index, caught.value.field) == (3, "title")

    def not_finite(items):
        raise NonFiniteScore("the model answered NaN or infinity for items[1]; check it", index=1)

    with pytest.raises(NonFiniteScore, match=r"for items\[2\];") as broken:
        rank_with_blanks(["a", "", "b"], not_finite, None)
    assert broken.value.index == 2

    def bad_history(items):
        raise InvalidInput("history[1] is empty", field="history", index=1)

    with pytest.raises(InvalidInput, match=r"history\[1\]"):
        rank_with_blanks(["", "a"], bad_history, None)


def test_a_margin_below_every_other(ranker):
    listed = WithBlanks(["a", ""])
    lowest = ranker.rank("tent", listed.readable)
    object.__setattr__(lowest[0], "margin", -1e30)
    assert [hit.margin for hit in listed.ranking(lowest, None)] == [-1e30, -1e30]
