from __future__ import annotations

import numpy as np
import pytest
from engine_fakes import FakeSession, by_content
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import BundleError, Cuts, NonFiniteScore
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import Cross, pair_feeds
from onyxrank.architectures.readout import Readout, margins_of
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest, Ragged

PAD = 99
token = st.integers(5, 50)
encoded = st.builds(
    lambda history, items: EncodedRequest(np.array(history, dtype=np.int32), Ragged.of(items), Cuts()),
    st.lists(token, min_size=2, max_size=10),
    st.lists(st.lists(token, min_size=1, max_size=8), max_size=12),
)


def cross(session, budget=2048, head="softmax"):
    return Cross({"model": session}, head, BatchLimits(micro_batch_tokens=budget))


def one_by_one(request):
    scores = []
    for index in range(len(request.items)):
        ids = np.concatenate([request.history, request.items[index]])[None].astype(np.int64)
        types = (np.arange(ids.shape[1]) >= len(request.history))[None].astype(np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
        scores.append(float(Readout().probabilities(margins_of(by_content(feeds), "softmax", 1))[0]))
    return scores


@given(st.lists(encoded, max_size=4), st.integers(1, 200))
def test_every_item_is_scored_in_its_place(requests, budget):
    scores = cross(FakeSession(), budget).score(requests)
    assert len(scores) == len(requests)
    for request, row in zip(requests, scores, strict=True):
        np.testing.assert_allclose(row, one_by_one(request), rtol=1e-6)


def request_of(*lengths):
    return EncodedRequest(np.array([1, 2], dtype=np.int32), Ragged.of([[9] * n for n in lengths]), Cuts())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=repr)
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_non_finite_logits_name_the_first_item(value, head):
    def answer(feeds):
        logits = np.zeros((len(feeds["input_ids"]), 2 if head == "softmax" else 1), dtype=np.float32)
        logits[feeds["attention_mask"].sum(axis=1) == 5, -1] = value
        return logits

    with pytest.raises(NonFiniteScore, match=r"items\[1\] of requests\[2\]") as caught:
        cross(FakeSession(answer), head=head).score([request_of(1), request_of(), request_of(2, 3, 1, 3)])
    assert caught.value.index == 1


@pytest.mark.parametrize(
    ("head", "shape"),
    [("softmax", (2, 1)), ("softmax", (2, 3)), ("sigmoid", (2, 2)), ("sigmoid", (2,)), ("softmax", (1, 2))],
)
def test_logits_of_another_shape_are_refused(head, shape):
    session = FakeSession(lambda feeds: np.zeros(shape, dtype=np.float32))
    with pytest.raises(BundleError, match="logits of shape"):
        cross(session, head=head).score([request_of(1, 1)])


def test_stages_are_timed_and_the_session_closed():
    session, watch = FakeSession(), Stopwatch()
    architecture = cross(session)
    architecture.margins([request_of(1)], watch)
    timings = watch.read()
    assert timings.batch > 0
    assert timings.run > 0
    assert timings.rank == timings.tokenize == 0
    architecture.close()
    assert session.closed == 1


@given(st.lists(encoded, min_size=1, max_size=4), st.randoms(use_true_random=False), st.integers(0, 20))
def test_the_feeds_of_pairs_equal_the_slow_reference(made, random, width):
    pairs = [(list(one.history), list(one.items[index])) for one in made for index in range(len(one.items))]
    call = Call(made)
    assert call.pair_lengths.tolist() == [len(history) + len(item) for history, item in pairs]
    if not pairs:
        return
    rows = random.sample(range(len(pairs)), random.randint(1, len(pairs)))
    feeds = pair_feeds(call, np.array(rows), PAD, width)
    longest = max(width, *(len(pairs[row][0]) + len(pairs[row][1]) for row in rows))
    for place, row in enumerate(rows):
        history, item = pairs[row]
        blank = longest - len(history) - len(item)
        assert feeds["input_ids"][place].tolist() == history + item + [PAD] * blank
        assert feeds["attention_mask"][place].tolist() == [1] * (longest - blank) + [0] * blank
        assert feeds["token_type_ids"][place].tolist() == [0] * len(history) + [1] * len(item) + [0] * blank
    assert {array.dtype for array in feeds.values()} == {np.dtype(np.int64)}
