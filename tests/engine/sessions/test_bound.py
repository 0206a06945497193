"""Bound runs, on the CPU's memory: what they do is the same on every device."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from onyxrank import OnyxrankError, Ranker
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
    runs = BoundRuns(session, ["logits"], "cpu")
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
    runs = BoundRuns(session, ["logits"], "cpu")
    for seed in range(3):
        runs.run(feeds(3, 7, seed))
    assert made == [(3, 7)] * 3  # one for each input


def test_the_shapes_used_last_are_kept(session):
    runs = BoundRuns(session, ["logits"], "cpu", most=2)
    for tokens in (4, 5, 4, 6):
        runs.run(feeds(2, tokens))
    assert [shapes[0] for shapes, kept in runs._free.items() if kept] == [(2, 4), (2, 6)]


def test_runs_at_once_do_not_mix(session):
    runs = BoundRuns(session, ["logits"], "cpu", most=3)
    asked = [feeds(1 + seed % 4, 6, seed) for seed in range(200)]
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(runs.run, asked))
    for arrays, [answer] in zip(asked, answers, strict=True):
        np.testing.assert_allclose(answer, expected(session, arrays), atol=1e-6)


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
