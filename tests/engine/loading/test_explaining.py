from __future__ import annotations

import json

import numpy as np
import pytest

from onyxrank import Item, Ranker

HISTORY = ["red camping tent", "grey garden hose", "red camping stove"]
ITEMS = [
    Item("ca-pegs-red", "red camping pegs", "pegs for camping"),
    Item("x", "grey office shredder", "new"),
    Item("ga-rake-grey", "grey garden rake", "rake for garden"),
]


@pytest.fixture(params=["trained_bundle", "shared_bundle", "late_bundle"])
def ranker(request):
    with Ranker.load(request.getfixturevalue(request.param), variant="fp32", threads=1) as loaded:
        yield loaded


def test_the_amounts_add_up_to_the_margin(ranker):
    ranking, plain = ranker.explain(HISTORY, ITEMS), ranker.rank(HISTORY, ITEMS)
    assert [hit.index for hit in ranking] == [hit.index for hit in plain]
    for hit, other in zip(ranking, plain, strict=True):
        assert other.reasons == ()
        assert sum(reason.amount for reason in hit.reasons) == pytest.approx(hit.margin, abs=1e-4)
        assert hit.margin == pytest.approx(other.margin, abs=1e-5)
        amounts = [abs(reason.amount) for reason in hit.reasons]
        assert amounts == sorted(amounts, reverse=True)


def test_reasons_name_the_events(ranker):
    for hit in ranker.explain(HISTORY, ITEMS, top_k=2):
        events = [reason for reason in hit.reasons if reason.index is not None]
        assert {reason.index for reason in events if reason.kind == "event"} <= {0, 1, 2}
        assert all(reason.text_of == HISTORY[reason.index] for reason in events)
        assert all(reason.text_of is None for reason in hit.reasons if reason.index is None)


def test_a_cold_start_and_no_items(ranker):
    assert ranker.explain(HISTORY, []).hits == ()
    for hit in ranker.explain([], ITEMS):
        assert all(reason.index is None for reason in hit.reasons)
        assert sum(reason.amount for reason in hit.reasons) == pytest.approx(hit.margin, abs=1e-4)


def test_records_carry_the_reasons(ranker):
    records = json.loads(json.dumps(ranker.explain(HISTORY, ITEMS, top_k=1).as_records()))
    assert set(records[0]) == {"rank", "index", "item_id", "score", "reasons"}
    assert set(records[0]["reasons"][0]) == {"kind", "index", "text_of", "amount"}
    assert "reasons" not in ranker.rank(HISTORY, ITEMS).as_records()[0]


def test_an_amount_is_what_leaving_the_event_out_costs(trained_bundle):
    with Ranker.load(trained_bundle, variant="fp32", threads=1) as ranker:
        [hit] = ranker.explain(HISTORY, ITEMS, top_k=1)
        left = [
            ranker.rank([text for text in HISTORY if text != event], [ITEMS[hit.index]])[0].margin
            for event in HISTORY
        ]
    told = {reason.index: reason.amount for reason in hit.reasons if reason.index is not None}
    np.testing.assert_allclose([told[index] for index in range(3)], hit.margin - np.array(left), atol=1e-4)


def test_events_that_were_not_read_have_no_reasons(late_bundle):
    long = [f"red camping tent {number}" for number in range(200)]
    with Ranker.load(late_bundle, variant="fp32", threads=1) as ranker:
        [hit] = ranker.explain(long, ITEMS, top_k=1)
    read = [reason.index for reason in hit.reasons if reason.kind == "event"]
    assert max(read) == 199
    assert min(read) > 0
    assert all(reason.text_of == long[reason.index] for reason in hit.reasons if reason.index is not None)


def test_without_a_cache_the_reasons_are_the_same(late_bundle):
    told = []
    for cache in (0, 2**20):
        with Ranker.load(late_bundle, variant="fp32", threads=1, history_cache_bytes=cache) as ranker:
            told.append([reason.amount for reason in ranker.explain(HISTORY, ITEMS)[0].reasons])
    np.testing.assert_allclose(told[0], told[1], atol=1e-5)
