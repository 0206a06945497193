from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from onyxrank import NonFiniteScore
from onyxrank.architectures.state_cache import StateCache
from onyxrank.measure.invariance import batch_deviation
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.request.truncation import Cuts
from onyxrank_export.conversion.gate import GateLimits, GateSample, Scoring, judge
from onyxrank_export.data.lists import CandidateList

LISTS, SIZE = 1200, 20
GENERATOR = np.random.default_rng(0)
REFERENCE = [GENERATOR.random(SIZE).astype(np.float32) for _ in range(LISTS)]


class Scorer:
    """An architecture that scores by a function of the item's first id and of how many are scored together."""

    def __init__(self, score=lambda ids, together: ids / 100):
        self._score = score
        self.states = StateCache(0)

    def score(self, requests):
        return self.margins(requests)

    def margins(self, requests, watch=None):
        return [
            np.array(
                [
                    self._score(int(row[0]), len(request.items))
                    for row in (request.items[i] for i in range(len(request.items)))
                ],
                np.float32,
            )
            for request in requests
        ]

    def close(self):
        pass


def request(*firsts):
    return EncodedRequest(np.array([1, 2], np.int32), Ragged.of([[first, 3] for first in firsts]), Cuts())


def a_sample():
    labels = [(np.arange(SIZE) == scores.argsort()[-3]).astype(np.float32) for scores in REFERENCE]
    lists = [CandidateList((), np.arange(SIZE, dtype=np.int32), row) for row in labels]
    return GateSample(lists, [request(*range(SIZE)) for _ in lists])


def verdict(scores, limits=None, error=0.02):
    return judge(scores, REFERENCE, a_sample(), limits or GateLimits(), error)


def noisy(size):
    noise = np.random.default_rng(1)
    return [scores + noise.normal(0, size, SIZE).astype(np.float32) for scores in REFERENCE]


def test_the_same_scores_pass_on_enough_lists():
    result = verdict(REFERENCE)
    assert (result.outcome, result.passed, result.reasons, result.needed) == ("passed", True, [], None)
    assert (result.auc_change.value, result.ndcg_kept.value, result.overlap.value) == (0, pytest.approx(1), 1)
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert (written["passed"], written["lists"]) == (True, LISTS)
    assert written["ndcg_kept_interval"][0] > 0.98


def test_few_lists_leave_it_open_and_tell_how_many_it_would_take():
    few = 20
    result = judge(REFERENCE[:few], REFERENCE, a_sample(), GateLimits(), 0.02)
    assert (result.outcome, result.passed, result.lists) == ("undecided", False, few)
    assert few < result.needed < 100 * LISTS
    assert any("of NDCG@10 above chance (limit 98%)" in reason for reason in result.reasons)


def test_the_limits_are_those_of_the_contract():
    assert GateLimits() == GateLimits(auc_change=0.003, ndcg_kept=0.98, overlap=0.9, error=0.015)


def test_scores_that_moved_are_refused_with_every_reason():
    result = verdict(noisy(0.5))
    assert result.outcome == "refused"
    assert [reason.split()[0] for reason in result.reasons] == ["AUC", "keeps", "top-10"]
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["reasons"] == result.reasons


OPEN = {"auc_change": 9, "ndcg_kept": -99, "overlap": -9}
"""Limits that everything keeps."""


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"auc_change": 1e-9}, "AUC changes by"),
        ({"ndcg_kept": 1.5}, "of NDCG@10"),
        ({"overlap": 9}, "top-10 overlap"),
    ],
    ids=["auc", "ndcg", "overlap"],
)
def test_each_limit_refuses_alone(limits, reason):
    [told] = verdict(noisy(0.3), GateLimits(**(OPEN | limits))).reasons
    assert reason in told


def test_a_better_auc_is_a_change_too():
    sample = a_sample()
    better = [scores + 2 * row.labels for scores, row in zip(REFERENCE, sample.lists, strict=True)]
    result = verdict(better, GateLimits(overlap=-9))
    assert result.auc_change.low > 0.003
    assert result.ndcg_kept.low > 1
    assert [reason.split()[0] for reason in result.reasons] == ["AUC"]


def test_the_share_kept_is_of_what_is_above_chance():
    """Scores that are drawn anew keep nothing, though chance alone has a part of the NDCG."""
    dice = np.random.default_rng(7)
    fresh = [dice.random(SIZE).astype(np.float32) for _ in range(LISTS)]
    assert abs(verdict(fresh).ndcg_kept.value) < 0.15


def test_a_reference_no_better_than_chance_decides_nothing():
    sample = a_sample()
    worst = [(np.arange(SIZE) == scores.argmin()).astype(np.float32) for scores in REFERENCE]
    lists = [replace(row, labels=labels) for row, labels in zip(sample.lists, worst, strict=True)]
    result = judge(REFERENCE, REFERENCE, GateSample(lists, sample.requests), GateLimits(), 0.02)
    assert (result.outcome, result.needed) == ("undecided", None)
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_score_that_is_no_number_fails(value):
    scores = [row.copy() for row in REFERENCE]
    scores[7][3] = value
    result = verdict(scores, GateLimits(**OPEN))
    assert (result.outcome, result.numbers) == ("refused", False)
    assert result.reasons == ["answers NaN or infinity for a held-out pair"]
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert written["auc"] is None


def test_figures_that_cannot_be_told_decide_nothing():
    sample = a_sample()
    blank = GateSample([replace(row, labels=np.zeros(SIZE, np.float32)) for row in sample.lists], sample.requests)
    result = judge(REFERENCE, REFERENCE, blank, GateLimits(), 0.02)
    assert result.outcome == "undecided"
    json.dumps(result.to_json(), allow_nan=False)


def test_a_deviation_between_alone_and_together_is_measured():
    assert batch_deviation(Scorer(), [request(10, 20, 30)]) == 0
    leaning = Scorer(lambda ids, together: ids / 100 + 0.01 * together)
    assert batch_deviation(leaning, [request(10), request(10, 20, 30)]) == pytest.approx(0.02)


def test_a_sample_is_scored_list_by_list_and_each_once():
    sample, told = GateSample([], [request(1, 2), request(3), request(4)]), []
    scoring = Scoring(Scorer(), sample, lambda *progress: told.append(progress))
    assert [row.tolist() for row in scoring.first(2)] == [pytest.approx([0.01, 0.02]), pytest.approx([0.03])]
    assert (len(scoring.first(1)), len(scoring.first(9)), scoring.scored) == (1, 3, 3)
    assert told == [(1, 2), (2, 2), (3, 3)]


def test_a_scorer_that_gives_nan_says_so():
    def fail(ids, together):
        raise NonFiniteScore("no", index=0)

    with pytest.raises(NonFiniteScore):
        Scoring(Scorer(fail), GateSample([], [request(1)])).first(1)
