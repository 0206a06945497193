from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from onyxrank import NonFiniteScore
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.request.truncation import Cuts
from onyxrank_export.conversion.gate import GateLimits, GateSample, Verdict, batch_deviation, judge, score_sample
from onyxrank_export.data.lists import CandidateList

LISTS, SIZE = 30, 20
GENERATOR = np.random.default_rng(0)
REFERENCE = [GENERATOR.random(SIZE).astype(np.float32) for _ in range(LISTS)]


class Scorer:
    """An architecture that scores by a function of the item's first id and of how many are scored together."""

    def __init__(self, score=lambda ids, together: ids / 100):
        self._score = score

    def score(self, requests, watch=None):
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


def verdict(scores, limits=None):
    return judge(scores, REFERENCE, Scorer(), a_sample(), limits or GateLimits())


def test_the_same_scores_pass():
    result = verdict(REFERENCE)
    assert result.passed
    assert (result.auc_change, result.ndcg_kept, result.overlap, result.batch_deviation) == (0, 1, 1, 0)
    assert result.to_json()["passed"] is True


def test_the_limits_are_those_of_the_contract():
    assert GateLimits() == GateLimits(auc_change=0.003, ndcg_kept=0.99, overlap=0.9)


def noisy(size):
    noise = np.random.default_rng(1)
    return [scores + noise.normal(0, size, SIZE).astype(np.float32) for scores in REFERENCE]


def test_scores_that_moved_are_refused_with_every_reason():
    result = verdict(noisy(0.5))
    assert not result.passed
    assert [fault.split()[0] for fault in result.faults] == ["AUC", "keeps", "top-10"]
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["faults"] == list(result.faults)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (GateLimits(auc_change=1e-9, ndcg_kept=0, overlap=0), "AUC changes by"),
        (GateLimits(auc_change=1, ndcg_kept=1.5, overlap=0), "of NDCG@10"),
        (GateLimits(auc_change=1, ndcg_kept=0, overlap=1), "top-10 overlap"),
    ],
    ids=["auc", "ndcg", "overlap"],
)
def test_each_limit_refuses_alone(limits, reason):
    [fault] = verdict(noisy(0.05), limits).faults
    assert reason in fault


def test_a_better_auc_is_a_change_too():
    sample = a_sample()
    better = [scores + 2 * row.labels for scores, row in zip(REFERENCE, sample.lists, strict=True)]
    result = verdict(better, GateLimits(overlap=0))
    assert result.auc_change > 0.003
    assert result.ndcg_kept > 1
    assert [fault.split()[0] for fault in result.faults] == ["AUC"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_score_that_is_no_number_fails(value):
    scores = [row.copy() for row in REFERENCE]
    scores[7][3] = value
    result = verdict(scores, GateLimits(auc_change=1, ndcg_kept=0, overlap=0))
    assert not result.passed
    assert not result.usable
    assert result.faults == ("answers NaN or infinity for a held-out pair",)
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert written["auc"] is None


def test_figures_that_cannot_be_told_fail():
    sample = a_sample()
    blank = GateSample([replace(row, labels=np.zeros(SIZE, np.float32)) for row in sample.lists], sample.requests)
    result = judge(REFERENCE, REFERENCE, Scorer(), blank, GateLimits())
    assert not result.passed
    json.dumps(result.to_json(), allow_nan=False)


def test_a_deviation_between_alone_and_together_is_measured():
    assert batch_deviation(Scorer(), [request(10, 20, 30)]) == 0
    leaning = Scorer(lambda ids, together: ids / 100 + 0.01 * together)
    assert batch_deviation(leaning, [request(10), request(10, 20, 30)]) == pytest.approx(0.02)


def test_a_sample_is_scored_list_by_list():
    sample, told = GateSample([], [request(1, 2), request(3)]), []
    scores = score_sample(Scorer(), sample, lambda *progress: told.append(progress))
    assert [row.tolist() for row in scores] == [pytest.approx([0.01, 0.02]), pytest.approx([0.03])]
    assert told == [(1, 2), (2, 2)]


def test_a_scorer_that_gives_nan_says_so():
    def fail(ids, together):
        raise NonFiniteScore("no", index=0)

    with pytest.raises(NonFiniteScore):
        score_sample(Scorer(fail), GateSample([], [request(1)]))


def test_a_verdict_without_faults_passed():
    figures = {
        "auc": 0.5,
        "auc_change": 0.0,
        "ndcg_at_10": 0.5,
        "ndcg_kept": 1.0,
        "overlap": 1.0,
        "batch_deviation": 0.0,
    }
    assert Verdict(**figures, faults=()).passed
    assert not Verdict(**figures, faults=("x",)).passed
