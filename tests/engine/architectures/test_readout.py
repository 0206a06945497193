from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
