from __future__ import annotations

import math

import numpy as np
import pytest
from engine_fakes import FakeSession, by_content
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import BundleError, Cuts, NonFiniteScore
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.cross import Cross
from onyxrank.architectures.readout import probabilities
from onyxrank.architectures.registry import build_architecture
from onyxrank.architectures.shared_history import SharedHistory
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest, Ragged

token = st.integers(5, 50)
encoded = st.builds(
    lambda history, items: EncodedRequest(np.array(history, dtype=np.int32), Ragged.of(items), Cuts()),
    st.lists(token, min_size=2, max_size=10),
    st.lists(st.lists(token, min_size=1, max_size=8), max_size=12),
)


def cross(session, budget=2048, head="softmax"):
    return Cross(session, head, BatchLimits(micro_batch_tokens=budget))


def one_by_one(request):
    scores = []
    for index in range(len(request.items)):
        ids = np.concatenate([request.history, request.items[index]])[None].astype(np.int64)
        types = (np.arange(ids.shape[1]) >= len(request.history))[None].astype(np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
        scores.append(float(probabilities(by_content(feeds), "softmax")[0]))
    return scores


@given(st.lists(encoded, max_size=4), st.integers(1, 200))
def test_every_item_is_scored_in_its_place(requests, budget):
    scores = cross(FakeSession(), budget).score(requests)
    assert len(scores) == len(requests)
    for request, row in zip(requests, scores, strict=True):
        np.testing.assert_allclose(row, one_by_one(request), rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "head", "expected"),
    [
        ([[0, 0], [-1, 1]], "softmax", [0.5, 1 / (1 + math.exp(-2))]),
        ([[0], [2]], "sigmoid", [0.5, 1 / (1 + math.exp(-2))]),
        ([[1e30, -1e30], [-1e30, 1e30]], "softmax", [0.0, 1.0]),
        ([[-3e38], [3e38]], "sigmoid", [0.0, 1.0]),
    ],
    ids=["softmax", "sigmoid", "softmax-extreme", "sigmoid-extreme"],
)
def test_probabilities(logits, head, expected):
    scores = probabilities(np.array(logits, dtype=np.float32), head)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_near_logits_make_no_ties():
    logits = np.arange(-8, 8, 0.01, dtype=np.float32)[:, None]
    assert (np.diff(probabilities(logits, "sigmoid")) > 0).all()


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
    architecture.score([request_of(1)], watch)
    timings = watch.read()
    assert timings.batch > 0
    assert timings.run > 0
    assert timings.rank == timings.tokenize == 0
    architecture.close()
    assert session.closed == 1


def test_the_name_picks_the_architecture():
    sessions = {role: FakeSession() for role in ("model", "history", "items")}
    assert isinstance(build_architecture("cross", "softmax", sessions, BatchLimits(), 0), Cross)
    assert isinstance(build_architecture("shared-history", "softmax", sessions, BatchLimits(), 0), SharedHistory)
    with pytest.raises(BundleError, match="no implementation"):
        build_architecture("later", "softmax", {}, BatchLimits(), 0)
