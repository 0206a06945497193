from __future__ import annotations

import numpy as np

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.slices import frequent_from, slices

POPULARITY = np.array([50, 30, 10, 5, 5, 0])
DAY = 86_400


def row(events, targets, waited=None):
    items = np.arange(6, dtype=np.int32)
    labels = np.isin(items, targets).astype(np.float32)
    return CandidateList((), items, labels, np.arange(events, dtype=np.int32), waited)


def test_frequent_items_make_up_half_of_what_is_bought():
    assert frequent_from(POPULARITY) == 50
    assert frequent_from(np.array([10, 10, 10, 10])) == 10
    assert frequent_from(np.zeros(3, int)) == 1


def test_every_list_is_in_one_slice_of_each_kind_that_the_data_tells():
    lists = [row(1, [0]), row(4, [1]), row(7, [5, 0]), row(30, [0], 60), row(2, [3], 3 * DAY), row(2, [3], 90 * DAY)]
    named = slices(lists, POPULARITY)
    assert {name: np.flatnonzero(chosen).tolist() for name, chosen in named.items()} == {
        "history: 1 to 2 events": [0, 4, 5],
        "history: 3 to 5 events": [1],
        "history: 6 to 10 events": [2],
        "history: over 10 events": [3],
        "purchase: never bought in training": [2],
        "purchase: rare": [1, 4, 5],
        "purchase: frequent": [0, 3],
        "last event: within a day": [3],
        "last event: within a week": [4],
        "last event: longer ago": [5],
    }


def test_search_has_no_slices():
    assert slices([row(1, [0])], None) == {}
