from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank.measure.overlap import top_overlap
from onyxrank_export.evaluation.metrics import (
    calibration_error,
    per_list_metrics,
    probability_metrics,
    ranking_metrics,
)

NAN = float("nan")
HARMONIC_40 = sum(1 / place for place in range(1, 41))


def one(labels, scores):
    figures = per_list_metrics([np.array(labels, np.float32)], [np.array(scores, np.float32)])
    return {name: values[0] for name, values in figures.items()}


def slow_auc(labels, scores):
    good = [score for label, score in zip(labels, scores, strict=True) if label]
    bad = [score for label, score in zip(labels, scores, strict=True) if not label]
    return np.mean([(g > b) + 0.5 * (g == b) for g in good for b in bad])


def slow_first_places(labels, scores):
    """The place of the best positive in every order of the ties, each as likely as the others."""
    count = len(labels)
    best = max(score for label, score in zip(labels, scores, strict=True) if label)
    above = sum(score > best for score in scores)
    tied = [label for label, score in zip(labels, scores, strict=True) if score == best]
    chosen = list(combinations(range(len(tied)), sum(tied)))
    assert above + len(tied) <= count
    return [above + 1 + min(places) for places in chosen]


def slow_ndcg(labels, scores):
    """Mean over all orders of tied scores, by giving each place the mean gain of its tie."""
    order = sorted(range(len(labels)), key=lambda index: -scores[index])
    gain = {
        score: np.mean([label for label, s in zip(labels, scores, strict=True) if s == score]) for score in scores
    }
    found = sum(gain[scores[index]] / math.log2(place + 2) for place, index in enumerate(order[:10]))
    ideal = sum(label / math.log2(place + 2) for place, label in enumerate(sorted(labels, reverse=True)[:10]))
    return found / ideal


@given(st.data())
def test_metrics_of_one_list_are_their_definitions(data):
    size = data.draw(st.integers(2, 14))
    labels = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    scores = data.draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    labels[0] = 1
    figures = one(labels, scores)
    if all(labels):
        assert math.isnan(figures["auc"])
    else:
        assert figures["auc"] == pytest.approx(slow_auc(labels, scores))
    places = slow_first_places(labels, scores)
    assert figures["mrr"] == pytest.approx(np.mean([1 / place for place in places]))
    assert figures["hit_rate_at_10"] == pytest.approx(np.mean([place <= 10 for place in places]))
    assert figures["hit_rate_at_100"] == pytest.approx(1)
    assert figures["ndcg_at_10"] == pytest.approx(slow_ndcg(labels, scores))


@pytest.mark.parametrize(
    ("labels", "scores", "auc", "ndcg", "mrr", "hit"),
    [
        pytest.param([0, 1, 0], [0.1, 0.9, 0.2], 1, 1, 1, 1, id="best"),
        pytest.param([0, 1, 0], [0.9, 0.1, 0.2], 0, 0.5, 1 / 3, 1, id="worst"),
        pytest.param([0, 1, 0], [0.5, 0.5, 0.2], 0.75, (1 + 1 / math.log2(3)) / 2, 0.75, 1, id="tie-for-first"),
        pytest.param([1, 0, 0], [0.5] * 3, 0.5, (1 + 1 / math.log2(3) + 0.5) / 3, 11 / 18, 1, id="all-tied"),
        pytest.param([1] + [0] * 11, [0] + [1] * 11, 0, 0, 1 / 12, 0, id="out-of-the-top-ten"),
        pytest.param([1] + [0] * 39, [0.5] * 40, 0.5, None, HARMONIC_40 / 40, 0.25, id="tied-across-the-top-ten"),
        pytest.param([0.5, 0, 1], [3, 2, 1], 0.5, (0.5 + 0.5) / (1 + 0.5 / math.log2(3)), 1, 1, id="graded"),
        pytest.param([1], [0.3], NAN, NAN, NAN, NAN, id="one-candidate"),
        pytest.param([1, 1], [0.3, 0.2], NAN, 1, 1, 1, id="no-negative"),
        pytest.param([0, 0], [0.3, 0.2], NAN, NAN, NAN, NAN, id="no-positive"),
        pytest.param([0], [0.3], NAN, NAN, NAN, NAN, id="one-negative"),
    ],
)
def test_hand_computed_lists(labels, scores, auc, ndcg, mrr, hit):
    figures = one(labels, scores)
    assert figures["auc"] == pytest.approx(auc, nan_ok=True)
    if ndcg is not None:
        assert figures["ndcg_at_10"] == pytest.approx(ndcg, nan_ok=True)
    assert figures["mrr"] == pytest.approx(mrr, nan_ok=True)
    assert figures["hit_rate_at_10"] == pytest.approx(hit, nan_ok=True)


def test_lists_that_tell_nothing_are_left_out_of_the_mean():
    labels = [np.array(row, np.float32) for row in ([1, 0], [0, 0], [0, 1], [1, 1], [1])]
    scores = [np.array(row) for row in ([0.9, 0.1], [0.5, 0.4], [0.6, 0.3], [0.2, 0.1], [0.2])]
    figures = ranking_metrics(labels, scores)
    assert figures["auc"] == 0.5
    assert figures["mrr"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert figures["auc_pooled"] == pytest.approx(slow_auc(np.concatenate(labels), np.concatenate(scores)))


def test_where_no_list_tells_anything_the_mean_is_nan_and_nobody_is_warned():
    figures = ranking_metrics([np.zeros(3, np.float32)], [np.arange(3.0)])
    assert all(math.isnan(value) for value in figures.values())


def test_a_score_that_is_nan_is_an_error_and_not_a_rank():
    with pytest.raises(ValueError, match="NaN"):
        one([1, 0], [NAN, 0.5])


def test_accuracy_and_log_loss():
    figures = probability_metrics(np.array([1, 0, 1, 0], np.float32), np.array([0.9, 0.2, 0.4, 0.5]))
    assert figures["accuracy"] == 0.5
    assert figures["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.4, 0.5])))


def test_a_certain_mistake_costs_much_but_not_infinity():
    figures = probability_metrics(np.array([1, 0], np.float32), np.array([0.0, 1.0], np.float32))
    assert 10 < figures["log_loss"] < 20
    assert figures["accuracy"] == 0
    assert figures["calibration_error"] == 1


@pytest.mark.parametrize(
    ("truth", "probabilities", "expected"),
    [
        pytest.param([1, 0], [1.0, 0.0], 0, id="certain-and-right"),
        pytest.param([1, 1, 0, 0], [0.5] * 4, 0, id="half"),
        pytest.param([0, 0, 0, 1], [0.75] * 4, 0.5, id="too-sure"),
        pytest.param([1, 0, 0, 0], [0.9, 0.1, 0.1, 0.1], (0.1 + 3 * 0.1) / 4, id="two-bins"),
    ],
)
def test_calibration_error_by_hand(truth, probabilities, expected):
    assert calibration_error(np.array(truth, bool), np.array(probabilities)) == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60))
def test_calibration_error_is_its_definition(pairs):
    truth, probabilities = (np.array(column) for column in zip(*pairs, strict=True))
    expected = 0.0
    for bin_ in range(15):
        inside = np.minimum(np.floor(probabilities * 15), 14) == bin_
        if inside.any():
            expected += inside.mean() * abs(probabilities[inside].mean() - truth[inside].mean())
    assert calibration_error(truth.astype(bool), probabilities) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        (range(20), range(20), 1.0),
        (range(20), range(20, 0, -1), 0.0),
        ([*range(10), *range(10)], [*range(20)], 0.5),
        (range(3), range(3, 0, -1), 0.0),
        ([3, 2, 1, 0, 0, 0], [3, 2, 0, 1, 0, 0], 2 / 3),
        ([1], [2], 1.0),
        ([], [], 0.0),
    ],
    ids=["same", "reversed", "half", "best-of-three", "half-of-six", "one", "empty"],
)
def test_overlap_of_the_top_ten(first, second, overlap):
    assert top_overlap(np.array(first, float), np.array(second, float)) == overlap
