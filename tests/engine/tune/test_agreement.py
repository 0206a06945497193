"""A setting's scores beside fp32's."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from engine_fakes import FakeSession, by_content

from onyxrank import OnyxrankError
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.cross import Cross
from onyxrank.architectures.readout import Readout
from onyxrank.bundle.opening import open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.setting import Setting
from onyxrank.request.items import to_items
from onyxrank.request.token_ids import Ragged
from onyxrank.tune.agreement import compare
from onyxrank.tune.comparison import Comparison


def scorer(answer):
    return Cross({"model": FakeSession(answer)}, "softmax", BatchLimits())


@pytest.fixture
def requests(tiny_bundle):
    encoder = load_encoder(open_bundle(tiny_bundle))
    words = ["tent", "lamp", "chair", "shoes", "coffee", "garden", "cable", "yarn", "camera", "bag"]
    items = [f"{first} {second}" for first in words for second in words[:3]]
    return [encoder.encode(("steel",), to_items(items)), encoder.encode((), to_items(items[:6]))]


def test_agreement_of_the_same_scores(requests):
    expected = [scorer(by_content).margins([request])[0] for request in requests]
    found = compare(scorer(by_content), requests, expected)
    assert (found.overlap, found.largest_difference, found.batch_deviation, found.faults) == (1.0, 0.0, 0.0, ())


def test_probabilities_that_all_moved_are_refused_though_the_order_is_kept(requests):
    expected = [scorer(by_content).margins([request])[0] for request in requests]
    found = compare(scorer(by_content), requests, [row - 1 for row in expected])
    assert found.overlap == 1.0
    ours, theirs = (Readout().probabilities(np.concatenate(expected) - shift) for shift in (0, 1))
    assert found.mean_difference == pytest.approx(np.mean(ours - theirs), rel=1e-4)
    assert "differs by" in found.faults[0]
    assert found.largest_difference > found.mean_difference


def test_a_reversed_ranking_is_refused(requests):
    expected = [scorer(by_content).margins([request])[0] for request in requests]
    found = compare(scorer(lambda feeds: -by_content(feeds)), requests, expected)
    assert found.overlap < 0.2
    assert "of fp32's best items" in found.faults[0]


def test_a_small_loss_is_refused_once_there_are_lists_enough(requests):
    """Each list loses 2 of fp32's best 10: alone that is chance only if lists differ."""
    many = requests[:1] * 4
    expected = [scorer(by_content).margins([request])[0] for request in many]
    lossy = [row.copy() for row in expected]
    for row in lossy:
        row[np.argsort(-row, kind="stable")[:2]] = 0.0
    assert compare(scorer(by_content), many, lossy).overlap == pytest.approx(0.8)
    assert compare(scorer(by_content), many, lossy).faults
    mixed = compare(scorer(by_content), many, [*lossy[:2], *expected[2:]])
    assert mixed.overlap == pytest.approx(0.9)
    uneven = compare(scorer(by_content), many, [*lossy[:3], expected[3]])
    assert uneven.overlap == pytest.approx(0.85)
    assert not uneven.faults


def test_scores_that_depend_on_the_batch_are_refused(requests):
    expected = [scorer(by_content).margins([request])[0] for request in requests]
    found = compare(
        scorer(lambda feeds: by_content(feeds) * (1 + 0.01 * len(feeds["input_ids"]))), requests, expected
    )
    assert "changes by" in found.faults[0]


def test_the_longest_list_tells_whether_scores_depend_on_the_batch(requests):
    lone = dataclasses.replace(requests[0], items=Ragged.of([requests[0].items[0]]))
    by_batch = scorer(lambda feeds: by_content(feeds) * (1 + 0.01 * len(feeds["input_ids"])))
    lists = [lone, *requests]
    assert compare(by_batch, lists, [scorer(by_content).score([each])[0] for each in lists]).batch_deviation > 1e-3


class Opening:
    """Stands for contestants of which one does not open any more."""

    def __init__(self, architectures):
        self.architectures = architectures

    def scheduler(self, setting):
        if setting not in self.architectures:
            raise OnyxrankError("out of memory")
        return SimpleNamespace(architecture=self.architectures[setting])


def test_what_does_not_run_any_more_is_refused(requests):
    def fail(feeds):
        raise OnyxrankError("out of memory")

    reference, failing, closed = (
        Setting(variant=name, provider="cpu", threads=1, sessions=1, micro_batch_tokens=64)
        for name in ("fp32", "failing", "closed")
    )
    opening = Opening({reference: scorer(by_content), failing: scorer(fail)})
    comparison = Comparison(opening, reference, requests, deadline=float("inf"))
    assert comparison.judge(failing).faults == ("does not run: out of memory",)
    assert comparison.judge(closed).faults == ("does not run: out of memory",)
    assert comparison.failed == {failing, closed}
    assert not comparison.judge(reference).faults


def test_answers_that_are_no_numbers_are_refused(requests):
    expected = [scorer(by_content).margins([request])[0] for request in requests]
    found = compare(scorer(lambda feeds: by_content(feeds) * np.nan), requests, expected)
    assert found.faults == ("answers NaN or infinity",)
