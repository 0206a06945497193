from __future__ import annotations

import numpy as np
import pytest

from onyxrank import Item
from onyxrank_export.data.pairs import CandidateList
from onyxrank_export.evaluation.baselines import bm25_scores, popularity_scores

ITEMS = [
    Item("a", "red tent", "two persons"),
    Item("b", "steel tent pegs", "a set"),
    Item("c", "desk lamp", "for the office"),
    Item("d", "garden hose", "with a tap"),
]


def ask(history, items=(0, 1, 2, 3)):
    return CandidateList(history, np.array(items, np.int32), np.zeros(len(items), np.float32))


def test_bm25_prefers_the_item_that_shares_rare_words():
    [scores] = bm25_scores([ask(("Tent pegs, steel",))], ITEMS)
    assert scores.argmax() == 1
    assert scores[1] > scores[0] > 0
    assert scores[2] == scores[3] == 0


def test_bm25_reads_descriptions_and_the_whole_history():
    [scores] = bm25_scores([ask(("office", "tap"))], ITEMS)
    assert (scores > 0).tolist() == [False, False, True, True]


def test_bm25_scores_are_those_of_the_candidates_in_their_order():
    one, other = bm25_scores([ask(("tent",)), ask(("tent",), (3, 1))], ITEMS)
    assert other.tolist() == [one[3], one[1]]


@pytest.mark.parametrize("history", [(), ("zebra xylophone",), ("the with a",)], ids=["cold", "unknown", "stopwords"])
def test_bm25_of_nothing_known_is_zero(history):
    [scores] = bm25_scores([ask(history)], ITEMS)
    assert scores.tolist() == [0, 0, 0, 0]


def test_an_unknown_word_changes_nothing():
    one, other = bm25_scores([ask(("tent",)), ask(("tent zebra",))], ITEMS)
    assert one.tolist() == other.tolist()


def test_popularity_is_the_count_of_training_purchases():
    [scores] = popularity_scores([ask((), (2, 0))], np.array([5, 1, 7, 0]))
    assert scores.tolist() == [7, 5]
