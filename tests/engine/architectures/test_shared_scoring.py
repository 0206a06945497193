from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_fakes import FakeSession
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Cuts, NonFiniteScore, OnyxrankError
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.readout import Readout
from onyxrank.architectures.shared_history import SharedHistory
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest, Ragged
from onyxrank.scheduling.scheduler import Scheduler

token = st.integers(5, 50)
encoded = st.builds(
    lambda history, items: request(history, items),
    st.lists(token, min_size=2, max_size=6),
    st.lists(st.lists(token, min_size=1, max_size=8), max_size=12),
)


class HistorySession(FakeSession):
    """Keys that hold the sum of the ids, and no values."""

    def run(self, feeds):
        self.shapes.append(feeds["input_ids"].shape)
        total = feeds["input_ids"].sum(dtype=np.float32)
        return [np.full((1, 1, 1, 1), total, np.float32), np.zeros((1, 1, 1, 1), np.float32)]


def request(history, items):
    return EncodedRequest(np.array(history, np.int32), Ragged.of(items), Cuts())


def margin(history, item):
    return np.sin(sum(history) * (1 + np.dot(item, np.arange(1, len(item) + 1))) / 7) * 3


def of_items(feeds):
    ids, mask = feeds["input_ids"], feeds["attention_mask"]
    weighed = (ids * mask * np.arange(1, ids.shape[1] + 1)).sum(axis=1)
    margins = np.sin(feeds["keys"][0, 0, 0, 0].astype(np.float64) * (1 + weighed) / 7) * 3
    return np.stack([np.zeros_like(margins), margins], axis=1).astype(np.float32)


def shared(budget=1024, cache_bytes=2**20, answer=of_items):
    history, items = HistorySession(), FakeSession(answer)
    sessions = {"history": history, "items": items}
    limits = BatchLimits(micro_batch_tokens=budget)
    return SharedHistory(sessions, "softmax", limits, cache_bytes=cache_bytes), history, items


def expected(row):
    margins = [margin(row.history.tolist(), row.items[index].tolist()) for index in range(len(row.items))]
    return Readout().probabilities(np.array(margins, dtype=np.float32))


@given(st.lists(encoded, max_size=4), st.integers(1, 60), st.sampled_from([0, 8, 2**20]))
def test_every_item_is_scored_against_its_own_history(requests, budget, cache_bytes):
    architecture, _, items = shared(budget, cache_bytes)
    for _ in range(2):  # the second time from the cache, where there is one
        scores = architecture.score(requests)
        assert [len(row) for row in scores] == [len(row.items) for row in requests]
        for row, answer in zip(requests, scores, strict=True):
            np.testing.assert_allclose(answer, expected(row), rtol=1e-4)
    assert all(rows * longest <= max(budget, longest) for rows, longest in items.shapes)


def test_a_history_is_computed_once_and_only_if_something_is_scored():
    architecture, history, items = shared(budget=4)
    architecture.score([request([1, 2], [])])
    assert history.shapes == []
    architecture.score([request([1, 2], [[5, 3], [6, 3], [7, 8, 3]]), request([1, 2], [[9, 3]])])
    assert history.shapes == [(1, 2)]
    assert len(items.shapes) == 3
    assert architecture.facts()["history_cache"]["hits"] == 1


def test_a_cached_history_takes_no_history_time():
    architecture, *_ = shared()
    first, second = Stopwatch(), Stopwatch()
    for watch in (first, second):
        architecture.margins([request([1, 2], [[5, 3]])], watch)
    assert first.read().history > 0
    assert second.read().history == 0
    assert second.read().run > 0


def test_without_a_cache_it_is_computed_again():
    architecture, history, _ = shared(cache_bytes=0)
    for _ in range(3):
        architecture.score([request([1, 2], [[5, 3]])])
    assert len(history.shapes) == 3
    assert architecture.facts()["history_cache"] == {
        "entries": 0,
        "bytes": 0,
        "max_bytes": 0,
        "hits": 0,
        "misses": 3,
    }


def test_a_prepared_state_is_used_whatever_the_cache_holds():
    architecture, history, _ = shared(cache_bytes=0)
    watch, scheduler = Stopwatch(), Scheduler(architecture)
    known = EncodedHistory(np.array([1, 2], np.int32), Cuts())
    state = scheduler.prepare(known, watch)
    assert watch.read().history > 0
    row = EncodedRequest(np.array([1, 2], np.int32), Ragged.of([[5, 3]]), Cuts(), state)
    [margins] = scheduler.score([row])
    np.testing.assert_allclose(architecture.readout.probabilities(margins), expected(row), rtol=1e-4)
    assert len(history.shapes) == 1
    assert scheduler.facts()["admitted"] == 2
    scheduler.close()
    with pytest.raises(OnyxrankError, match="closed"):
        scheduler.prepare(known)


def test_a_score_that_is_no_number_names_request_and_item():
    def broken(feeds):
        return np.where(feeds["input_ids"][:, :1] == 9, np.nan, 0.0).repeat(2, axis=1).astype(np.float32)

    architecture, *_ = shared(answer=broken)
    with pytest.raises(NonFiniteScore, match=r"items\[1\] of requests\[1\]") as caught:
        architecture.score([request([1, 2], [[5, 3]]), request([1, 2], [[5, 3], [9, 3]])])
    assert caught.value.index == 1


def test_closing_frees_both_graphs_and_the_histories():
    architecture, history, items = shared()
    architecture.score([request([1, 2], [[5, 3]])])
    architecture.close()
    assert history.closed == items.closed == 1
    assert architecture.facts()["history_cache"]["entries"] == 0


def test_32_threads_never_mix_histories():
    architecture, *_ = shared(cache_bytes=64)  # of eight histories
    # Some shoppers come back at once, others when theirs has gone.
    shoppers = np.random.default_rng(0).geometric(0.12, 1000) % 40
    rows = [request([1, shopper], [[5, number % 7, 3], [6, 3]]) for number, shopper in enumerate(shoppers.tolist())]
    with ThreadPoolExecutor(32) as pool:
        for row, [scores] in zip(rows, pool.map(lambda row: architecture.score([row]), rows), strict=True):
            np.testing.assert_allclose(scores, expected(row), rtol=1e-4)
    cache = architecture.facts()["history_cache"]
    assert cache["hits"] > 300
    assert cache["misses"] > 100  # so that histories went, too
