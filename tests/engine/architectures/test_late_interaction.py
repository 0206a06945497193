from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine_fakes import FakeSession
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import BundleError, Cuts
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.late_interaction import PLAIN, LateInteraction, vectors_of
from onyxrank.request.known import NEW
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest, Events, Ragged
from onyxrank.scheduling.scheduler import Scheduler

WIDTH = 4
text = st.lists(st.integers(5, 50), min_size=1, max_size=6)
encoded = st.builds(
    lambda events, items: request(events, items), st.lists(text, max_size=5), st.lists(text, max_size=8)
)


def request(events, items):
    ragged = Ragged.of(events)
    told = Events(ragged, np.full(len(events), NEW, np.int32))
    return EncodedRequest(
        ragged.ids, Ragged.of(items), Cuts(), events=told, places=np.full(len(items), NEW, np.int32)
    )


def vector_of(ids):
    vector = np.array([np.sin(channel + np.dot(ids, np.arange(1, len(ids) + 1))) for channel in range(WIDTH)])
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def answer(feeds):
    rows = zip(feeds["input_ids"], feeds["attention_mask"], strict=True)
    return np.stack([vector_of(ids[mask == 1]) for ids, mask in rows])


def late(budget=1024, cache_bytes=2**20, at_once=1):
    session = FakeSession(answer)
    limits = BatchLimits(micro_batch_tokens=budget, at_once=at_once)
    return LateInteraction({"encoder": session}, "sigmoid", limits, cache_bytes=cache_bytes), session


def expected(row):
    items = np.stack([vector_of(row.items[index]) for index in range(len(row.items))])
    if not len(row.events.texts):
        return np.zeros(len(items))
    events = np.stack([vector_of(row.events.texts[index]) for index in range(len(row.events.texts))])
    return np.log(np.exp((events @ items.T).astype(float) / 0.05).mean(axis=0))


@given(st.lists(encoded, max_size=4), st.integers(1, 60), st.sampled_from([0, 40, 2**20]), st.integers(1, 3))
def test_every_item_is_scored_against_its_own_history(requests, budget, cache_bytes, at_once):
    architecture, session = late(budget, cache_bytes, at_once)
    for _ in range(2):  # the second time from the cache, where there is one
        margins = architecture.margins(requests)
        assert [len(row) for row in margins] == [len(row.items) for row in requests]
        for row, own in zip(requests, margins, strict=True):
            if len(row.items):
                np.testing.assert_allclose(own, expected(row), rtol=1e-4, atol=1e-4)
    assert all(rows * longest <= max(budget, longest) for rows, longest in session.shapes)


def test_every_text_is_encoded_once():
    architecture, session = late()
    architecture.margins([request([[5, 6], [7]], [[5, 6], [8], [8]]), request([[7]], [[9]])])
    assert session.shapes == [(4, 2)]
    architecture.margins([request([[7], [9]], [[8], [5, 6]])])
    assert session.shapes == [(4, 2)], "nothing was new"
    architecture.margins([request([[7], [9]], [[8], [5, 6], [11]])])
    assert session.shapes == [(4, 2), (1, 1)]
    assert architecture.facts()["vector_cache"]["entries"] == 5


def test_a_score_without_anything_new_takes_no_run():
    architecture, _ = late()
    row = request([[5]], [[6], [7]])
    first, second = Stopwatch(), Stopwatch()
    for watch in (first, second):
        architecture.margins([row], watch)
    assert first.read().run > 0
    assert second.read().run == 0
    assert second.read().rank > 0


def test_a_prepared_history_is_used_whatever_the_cache_holds():
    architecture, session = late(cache_bytes=0)
    scheduler = Scheduler(architecture)
    row = request([[5, 6], [7]], [[8]])
    state = scheduler.prepare(EncodedHistory(row.history, Cuts(), events=row.events))
    [margins] = scheduler.score([replace(row, state=state)])
    np.testing.assert_allclose(margins, expected(row), rtol=1e-4)
    assert session.shapes == [(2, 2), (1, 1)]
    scheduler.close()


def test_the_longest_history_is_a_matter_of_milliseconds_of_numpy():
    architecture, session = late()
    row = request([[5 + place % 40] for place in range(10_000)], [[6], [7]])
    [margins] = architecture.margins([row])
    np.testing.assert_allclose(margins, expected(row), rtol=1e-3)
    assert sum(rows for rows, _ in session.shapes) == 40


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_encoder_that_answers_no_numbers_is_an_error(wrong):
    session = FakeSession(lambda feeds: np.full((len(feeds["input_ids"]), WIDTH), wrong, np.float32))
    architecture = LateInteraction({"encoder": session}, "sigmoid", BatchLimits())
    with pytest.raises(BundleError, match="NaN or infinity"):
        architecture.margins([request([[5]], [[6]])])
    assert architecture.facts()["vector_cache"]["entries"] == 0


def test_the_score_reads_the_call_s_own_vectors():
    architecture, _ = late()
    row = request([[5]], [[6], [7]])
    architecture.margins([row])
    texts = architecture._texts_of(type("Call", (), {"requests": [row]})())
    events, items = vectors_of(row, texts)
    np.testing.assert_allclose(PLAIN.margins(events, items), expected(row), rtol=1e-4)
