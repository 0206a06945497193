from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from onyxrank.architectures.readout import Readout
from onyxrank_export.conversion.readout_fit import LEAST_PURCHASES, fit_readout
from onyxrank_export.evaluation.calibration import calibration


def made(lists=600, items=20, slope=1.0, offset=0.0, seed=0):
    """Lists whose chances are a known function of the margins."""
    generator = np.random.default_rng(seed)
    margins = [generator.normal(0, 2, items).astype(np.float32) for _ in range(lists)]
    odds = [slope * row.astype(float) + offset for row in margins]
    labels = [(generator.random(items) < expit(row)).astype(np.float32) for row in odds]
    return margins, labels


def test_the_line_that_made_the_choices_is_found():
    readout, report = fit_readout(*made(slope=0.4, offset=-2.5))
    assert report["form"] == readout.kind == "platt"
    assert (readout.slope, readout.offset) == (pytest.approx(0.4, abs=0.05), pytest.approx(-2.5, abs=0.1))
    assert report["log_loss"] < report["constant_log_loss"]


@pytest.mark.parametrize("seed", range(3))
def test_on_other_lists_it_is_calibrated_and_better_than_a_constant(seed):
    readout, _ = fit_readout(*made(slope=0.7, offset=-3, seed=seed))
    margins, labels = made(lists=2000, slope=0.7, offset=-3, seed=100 + seed)
    found = calibration(labels, [readout.probabilities(row) for row in margins])
    assert found.log_loss < found.constant_log_loss
    assert found.error[0] < 0.01
    raw = calibration(labels, [Readout().probabilities(row) for row in margins])
    assert raw.error[0] > 5 * found.error[0]


def test_a_model_that_knows_nothing_says_the_share():
    margins, labels = made(slope=0.0, offset=-2)
    readout, report = fit_readout(margins, labels)
    assert np.concatenate([readout.probabilities(row) for row in margins]) == pytest.approx(expit(-2), abs=0.05)
    assert report["log_loss"] == pytest.approx(report["constant_log_loss"], rel=0.02)


def test_the_base_rate_moves_the_mean_and_no_order():
    margins, labels = made(slope=0.4, offset=-2.5)
    here, _ = fit_readout(margins, labels)
    there, report = fit_readout(margins, labels, 0.01)
    assert (report["base_rate"], report["share"]) == (0.01, pytest.approx(np.concatenate(labels).mean()))
    assert there.shift == pytest.approx(logit(0.01) - logit(report["share"]))
    row = margins[0]
    assert (there.probabilities(row) < here.probabilities(row)).all()
    assert (there.probabilities(row).argsort() == here.probabilities(row).argsort()).all()


def test_too_few_purchases_fit_nothing_and_say_so():
    margins, labels = made(lists=4)
    readout, report = fit_readout(margins, [np.zeros_like(row) for row in labels])
    assert (readout, report["form"]) == (Readout(), None)
    assert str(LEAST_PURCHASES) in report["reason"]
