from __future__ import annotations

import numpy as np
import pytest
from engine_fakes import FakeSession, by_content
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Limits
from onyxrank.architectures.cross import PAIR, Cross
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.architectures.shared_history import SharedHistory
from onyxrank.sessions.shape_buckets import TOKEN_STEP, Bucketed, Sizes, bucket

LIMITS = Limits(history_tokens=20, item_tokens=9)


@given(st.integers(1, 100_000), st.sampled_from([1, TOKEN_STEP]))
def test_a_size_is_rounded_up_by_less_than_a_step_or_an_eighth(count, step):
    size = bucket(count, step)
    assert count <= size < count + max(step, count / 8 + 1)
    assert size % step == 0
    assert bucket(size, step) == size


@given(st.integers(1, 4096))
def test_at_most_an_eighth_is_padding(count):
    assert bucket(count) - count <= count / 8


def test_few_sizes_serve_all():
    assert len({bucket(count) for count in range(1, 4097)}) <= 8 * 12
    assert len({bucket(count, TOKEN_STEP) for count in range(1, 513)}) <= 40


@given(st.integers(1, 40), st.integers(1, 32), st.integers(0, 2**32 - 1))
def test_rows_answer_as_they_do_unpadded(rows, tokens, seed):
    dice = np.random.default_rng(seed)
    lengths = dice.integers(1, tokens + 1, rows)
    lengths[0] = tokens
    mask = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
    feeds = {
        "input_ids": dice.integers(1, 100, (rows, tokens)) * mask,
        "attention_mask": mask,
        "token_type_ids": dice.integers(0, 2, (rows, tokens)) * mask,
    }
    session = FakeSession()
    [logits] = Bucketed(session, PAIR, Sizes(64, 32)).run(feeds)
    np.testing.assert_array_equal(logits, by_content(feeds))
    [(ran, wide)] = session.shapes
    assert (ran, wide) == (bucket(rows), min(32, bucket(tokens, TOKEN_STEP)))


def test_more_rows_than_the_largest_arrays_run_in_parts():
    session = FakeSession()
    dice = np.random.default_rng(0)
    feeds = {name: dice.integers(1, 9, (40, 3)) for name in PAIR.inputs}
    [logits] = Bucketed(session, PAIR, Sizes(16, 8)).run(feeds)
    np.testing.assert_array_equal(logits, by_content(feeds))
    assert session.shapes == [(16, 8), (16, 8), (8, 8)]


def test_no_row_gets_wider_than_the_model_has_positions():
    session = FakeSession()
    ids = np.ones((3, 10), dtype=np.int64)
    Bucketed(session, PAIR, Sizes(8, 10)).run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids})
    assert session.shapes == [(3, 10)]


def test_a_row_of_padding_attends_to_something():
    seen = []

    def answer(feeds):
        seen.append(feeds["attention_mask"])
        return by_content(feeds)

    ids = np.ones((17, 8), dtype=np.int64)
    Bucketed(FakeSession(answer), PAIR, Sizes(64, 32)).run(
        {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids}
    )
    assert len(seen[0]) == 18
    assert seen[0].any(axis=1).all()


@pytest.mark.parametrize(
    ("role", "sizes"),
    [
        ("model", Sizes(128, 20 + 9 + 3)),
        ("history", Sizes(1, 20 + 2)),
        ("items", Sizes(128, 9 + 1, 32)),
    ],
)
def test_the_largest_arrays_follow_from_the_limits(role, sizes):
    [architecture] = [each for each in (Cross, SharedHistory) if role in each.graphs]
    assert architecture.largest(role, LIMITS, 1024) == sizes


def test_a_history_that_fills_a_step_has_keys_of_the_next():
    assert SharedHistory.largest("items", Limits(history_tokens=30 - 1, item_tokens=9), 1024).state == 32
    assert SharedHistory.largest("items", Limits(history_tokens=30, item_tokens=9), 1024).state == 48


def test_every_role_has_sizes():
    for architecture in ARCHITECTURES.values():
        for role, graph in architecture.graphs.items():
            sizes = architecture.largest(role, LIMITS, 1024)
            assert (sizes.state > 0) is bool(set(graph.inputs) - {"input_ids", "attention_mask", "token_type_ids"})


def test_it_is_a_session():
    session = FakeSession()
    bucketed = Bucketed(session, PAIR, Sizes(8, 8))
    assert bucketed.info() == session.info()
    bucketed.close()
    assert session.closed
