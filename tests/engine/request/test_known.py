from __future__ import annotations

import numpy as np
import pytest

from onyxrank import Item
from onyxrank.request.known import NEW, KnownItems

ITEMS = [Item("a1", "steel tent"), Item("0", "desk lamp"), Item("b2", "steel tent"), Item("é", "  wool yarn ")]


@pytest.fixture
def known():
    return KnownItems.of(ITEMS, np.array([1, 5, 7, 2]))


def test_an_item_is_known_by_its_id_whatever_its_title_says_now(known):
    assert known.places_of([Item("a1", "steel tent, new edition"), Item("é", "yarn")]).tolist() == [0, 3]


def test_an_id_that_is_only_a_position_needs_the_title_too(known):
    assert known.places_of([Item("0", "camping stove")]).tolist() == [NEW]
    assert known.places_of([Item("0", "desk lamp")]).tolist() == [1]
    assert known.places_of([Item("x", "new"), Item("0", "lamp for desks")]).tolist() == [NEW, 1]


def test_a_title_is_that_of_the_item_bought_most(known):
    assert known.places_of([Item("unknown", "steel tent")]).tolist() == [2]
    assert known.places_of_titles(["steel tent", "wool yarn", "wool"]).tolist() == [2, 3, NEW]


def test_nothing_is_known_of_nothing():
    none = KnownItems.of([], np.zeros(0, np.int64))
    assert none.places_of(ITEMS).tolist() == [NEW] * 4
    assert none.places_of([]).dtype == np.int32
    assert len(none) == 0
