from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import InvalidInput
from onyxrank.architectures.readout import Readout, margins_of


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
    scores = Readout().probabilities(margins_of(np.array(logits, dtype=np.float32), head, len(logits)))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_near_margins_make_no_ties():
    assert (np.diff(Readout().probabilities(np.arange(-8, 8, 0.01, dtype=np.float32))) > 0).all()


def test_margins_tell_apart_what_probabilities_cannot():
    logits = np.array([[0, 17.5], [0, 18.5], [0, 40.0]], dtype=np.float32)
    margins = margins_of(logits, "softmax", 3)
    assert (np.diff(margins) > 0).all()
    assert len(set(Readout().probabilities(margins).tolist())) < 3


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=20))
def test_a_larger_margin_never_has_a_smaller_probability(margins):
    ordered = np.sort(np.array(margins, dtype=np.float32))
    scores = Readout().probabilities(ordered)
    assert (np.diff(scores) >= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_half_precision_logits_are_subtracted_in_full():
    logits = np.array([[-1000, 0.5]], dtype=np.float16)
    assert margins_of(logits, "softmax", 1).tolist() == [1000.5]


def test_a_margin_of_infinite_logits_is_not_finite_and_no_warning():
    margins = margins_of(np.array([[np.inf, np.inf], [0, np.inf]], dtype=np.float32), "softmax", 2)
    assert not np.isfinite(margins).any()


@pytest.mark.parametrize("logits", [[3e38, -3e38], [-3e38, 3e38]], ids=["low", "high"])
def test_a_margin_beyond_single_precision_stays_finite(logits):
    margins = margins_of(np.array([logits], dtype=np.float32), "softmax", 1)
    assert np.isfinite(margins).all()
    assert np.sign(margins[0]) == np.sign(logits[1])


# Fitted readouts

NUMBERS = st.floats(-30, 30)


@st.composite
def readouts(draw):
    knots = draw(st.integers(0, 6))
    margins = sorted(draw(st.sets(st.floats(-20, 20, width=32), min_size=knots, max_size=knots)))
    odds = sorted(draw(st.lists(st.floats(-10, 10), min_size=knots, max_size=knots)))
    slope, offset, shift = draw(st.floats(0.01, 10)), draw(NUMBERS), draw(NUMBERS)
    return Readout(slope=slope, offset=offset, margins=tuple(margins), log_odds=tuple(odds), shift=shift)


@given(readouts(), st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=20))
def test_a_larger_margin_never_gets_a_smaller_probability(readout, margins):
    scores = readout.probabilities(np.sort(np.array(margins, np.float32)))
    assert (np.diff(scores) >= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@given(readouts())
def test_a_readout_comes_back_from_json_as_it_was(readout):
    written = json.loads(json.dumps(readout.to_json()))
    lists = {name: tuple(written[name]) for name in ("margins", "log_odds")}
    assert Readout(**(written | lists)) == readout


@given(readouts(), st.floats(-8, 8, width=32), st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_the_shift_is_bayes_rule_for_another_share(readout, margin, share, other):
    """He et al. 2014, section 6.3: with w times as many negatives, p becomes p / (p + (1 - p) · w)."""
    plain = replace(readout, shift=0.0)
    weight = (1 - other) / other * share / (1 - share)
    moved = replace(readout, shift=-math.log(weight))
    [p], [q] = (each.probabilities(np.array([margin], np.float32)).astype(float) for each in (plain, moved))
    if 1e-3 < p < 1 - 1e-3:
        assert q == pytest.approx(p / (p + (1 - p) * weight), rel=1e-3)


def test_a_line_and_knots_by_hand():
    margins = np.array([-2, 0, 1, 5], np.float32)
    line = Readout(slope=2.0, offset=-1.0)
    np.testing.assert_allclose(line.probabilities(margins), 1 / (1 + np.exp([5.0, 1, -1, -9])), rtol=1e-6)
    knots = Readout(margins=(-1.0, 1.0), log_odds=(-2.0, 0.0))
    np.testing.assert_allclose(knots.probabilities(margins), 1 / (1 + np.exp([2.0, 1, 0, 0])), rtol=1e-6)
    kinds = [each.kind for each in (line, knots, Readout(), Readout(slope=0.5))]
    assert kinds == ["platt", "isotonic", "logistic", "temperature"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"slope": 0.0}, "above 0"),
        ({"offset": math.nan}, "finite"),
        ({"margins": (1.0,)}, "log-odds for every margin"),
        ({"margins": (1.0, 1.0), "log_odds": (0.0, 1.0)}, "must ascend"),
        ({"margins": (1.0, 2.0), "log_odds": (1.0, 0.0)}, "not descend"),
    ],
)
def test_impossible_readouts_are_refused(wrong, told):
    with pytest.raises(InvalidInput, match=told):
        Readout(**wrong)
