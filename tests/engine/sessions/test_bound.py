"""Bound runs, on the CPU's memory: what they do is the same on every device."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from onyxrank import OnyxrankError, Ranker
from onyxrank.architectures.cross import PAIR
from onyxrank.architectures.shared_history import SharedHistory
from onyxrank.sessions.arrays import DeviceArray
from onyxrank.sessions.bound import BoundRuns
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.tune.sample import SAMPLE_FILE, read_requests


@pytest.fixture(scope="module")
def session(tiny_bundle):
    return onnxruntime.InferenceSession(tiny_bundle / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])


def feeds(rows, tokens, seed=0):
    ids = np.random.default_rng(seed).integers(5, 100, (rows, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def expected(session, arrays):
    return session.run(["logits"], arrays)[0]


def test_answers_are_those_of_a_plain_run_and_stay_as_they_were(session):
    runs = BoundRuns(session, PAIR, "cpu")
    shapes = [(3, 7), (5, 4), (3, 7), (3, 7), (1, 9), (5, 4)]
    asked = [feeds(*shape, seed) for seed, shape in enumerate(shapes)]
    answers = [runs.run(arrays)[0] for arrays in asked]
    for arrays, answer in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(answer, expected(session, arrays))


def test_a_shape_seen_before_makes_no_arrays(session, monkeypatch):
    made = []
    original = onnxruntime.OrtValue.ortvalue_from_shape_and_type

    def count(*arguments):
        made.append(arguments[0])
        return original(*arguments)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", count)
    runs = BoundRuns(session, PAIR, "cpu")
    for seed in range(3):
        runs.run(feeds(3, 7, seed))
    assert made == [(3, 7)] * 3  # one for each input


def test_the_shapes_used_last_are_kept(session):
    runs = BoundRuns(session, PAIR, "cpu", most=2)
    for tokens in (4, 5, 4, 6):
        runs.run(feeds(2, tokens))
    assert [shapes[0] for shapes, kept in runs._free.items() if kept] == [(2, 4), (2, 6)]


def test_runs_at_once_do_not_mix(session):
    runs = BoundRuns(session, PAIR, "cpu", most=3)
    asked = [feeds(1 + seed % 4, 6, seed) for seed in range(200)]
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(runs.run, asked))
    for arrays, [answer] in zip(asked, answers, strict=True):
        np.testing.assert_allclose(answer, expected(session, arrays), atol=1e-6)


def test_a_state_stays_on_the_device_and_is_read_there_and_two_do_not_mix(shared_bundle, monkeypatch):
    history, items = (
        BoundRuns(
            onnxruntime.InferenceSession(shared_bundle / f"onnx/{role}.onnx", providers=["CPUExecutionProvider"]),
            SharedHistory.graphs[role],
            "cpu",
        )
        for role in ("history", "items")
    )
    ids = [np.array([[2, first, 9, 3]], dtype=np.int64) for first in (7, 8, 11)]
    states = [history.run({"input_ids": row}) for row in ids]
    for row, state in zip(ids, states, strict=True):
        assert all(isinstance(array, DeviceArray) for array in state)
        fresh = history.run({"input_ids": row})
        for array, expected in zip(state, fresh, strict=True):
            np.testing.assert_array_equal(array.numpy(), expected.numpy())
            assert (array.shape, array.nbytes) == (array.numpy().shape, array.numpy().nbytes)
    rows = {"input_ids": np.full((3, 4), 9, dtype=np.int64), "attention_mask": np.ones((3, 4), dtype=np.int64)}
    on_host = [items.run({**rows, "keys": keys.numpy(), "values": values.numpy()})[0] for keys, values in states]
    monkeypatch.setattr(DeviceArray, "numpy", lambda self: 1 / 0)  # no way back to the host
    for (keys, values), expected in zip(states, on_host, strict=True):
        [logits] = items.run({**rows, "keys": keys, "values": values})
        np.testing.assert_array_equal(logits, expected)
    assert not np.array_equal(on_host[0], on_host[1])


@pytest.mark.parametrize("name", ["trained_bundle", "shared_bundle"])
def test_a_ranker_with_bound_runs_and_sizes_that_repeat_ranks_as_without(name, request, monkeypatch):
    folder = request.getfixturevalue(name)
    sample = read_requests(folder / SAMPLE_FILE)
    with Ranker.load(folder, variant="fp32", provider="cpu") as plain:
        monkeypatch.setitem(PROVIDERS, "cpu", dataclasses.replace(PROVIDERS["cpu"], memory="cpu"))
        with Ranker.load(folder, variant="fp32", provider="cpu") as bound:
            for one in sample:
                np.testing.assert_allclose(
                    bound.score(one.history, one.items), plain.score(one.history, one.items), atol=1e-6
                )


def test_a_failed_run_is_told_as_any_other(tiny_bundle, monkeypatch):
    monkeypatch.setitem(PROVIDERS, "cpu", dataclasses.replace(PROVIDERS["cpu"], memory="cpu"))
    with Ranker.load(tiny_bundle, provider="cpu") as ranker:
        assert len(ranker.score("tent", ["lamp", "stove"])) == 2
        monkeypatch.setattr(BoundRuns, "run", lambda self, feeds: 1 / 0)
        with pytest.raises(OnyxrankError, match="failed to run"):
            ranker.score("tent", ["lamp"])
