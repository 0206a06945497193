from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Cuts, Item, Ranking
from onyxrank.request.ranking import order_by, to_hits
from onyxrank.request.timings import Timings

ITEMS = (Item("a", "red"), Item("b", "blue"), Item("c", "green"))


@pytest.fixture
def ranking():
    margins = np.array([-1.0, 1.0, -1.0], dtype=np.float32)
    hits = to_hits(ITEMS, margins, np.array([0.25, 0.75, 0.25], dtype=np.float32))
    return Ranking(hits, 3, Cuts(), cold_start=False)


@given(
    st.lists(st.sampled_from([-9.0, -0.1, 0.0, 0.5, 1.0]) | st.floats(-99, 99, width=32), max_size=60),
    st.none() | st.integers(1, 70),
)
def test_the_order_equals_the_slow_reference(margins, top_k):
    array = np.array(margins, dtype=np.float32)
    expected = sorted(range(len(margins)), key=lambda index: -float(array[index]))
    assert order_by(array, top_k).tolist() == (expected if top_k is None else expected[:top_k])


def test_places_follow_from_margins_where_probabilities_are_the_same_number():
    margins = np.array([18.0, 19.0, 40.0], dtype=np.float32)
    hits = to_hits(ITEMS, margins, np.ones(3, dtype=np.float32))
    assert [hit.id for hit in hits] == ["c", "b", "a"]
    assert [hit.margin for hit in hits] == [40.0, 19.0, 18.0]
    assert {hit.score for hit in hits} == {1.0}


def test_a_ranking_is_a_sequence(ranking):
    assert [hit.id for hit in ranking] == ["b", "a", "c"]
    assert len(ranking) == ranking.total == 3
    assert ranking[0] is ranking.hits[0] is next(iter(ranking))
    assert ranking[-1].rank == 3
    assert ranking[:2] == ranking.hits[:2]
    assert ranking.hits[1] in ranking


def test_a_ranking_cannot_be_changed(ranking):
    with pytest.raises(dataclasses.FrozenInstanceError):
        ranking.total = 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        ranking[0].score = 1.0
    with pytest.raises(TypeError):
        ranking[0] = ranking[1]


def test_records_are_json(ranking):
    assert json.loads(json.dumps(ranking.as_records())) == [
        {"rank": 1, "index": 1, "item_id": "b", "score": 0.75},
        {"rank": 2, "index": 0, "item_id": "a", "score": 0.25},
        {"rank": 3, "index": 2, "item_id": "c", "score": 0.25},
    ]


def test_timings_do_not_count_for_equality(ranking):
    assert dataclasses.replace(ranking, timings=Timings(run=1.0)) == ranking
