from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from scipy.special import expit

from onyxrank_export.evaluation.calibration import calibration, draw_reliability, without_shift


def made(claim=0.0, lists=500):
    generator = np.random.default_rng(0)
    odds = [generator.normal(-2, 1, 30) for _ in range(lists)]
    labels = [(generator.random(30) < expit(row)).astype(np.float32) for row in odds]
    return labels, [expit(row + claim) for row in odds]


def test_true_chances_are_calibrated_and_false_ones_are_not():
    good, bad = calibration(*made()), calibration(*made(claim=1.0))
    assert good.error[0] <= 0.01
    assert good.log_loss < good.constant_log_loss
    assert bad.error[1] > 0.05
    assert bad.error_of_best[0] > bad.error[0], "most of what is claimed too much is at the top"
    assert f"log loss {good.log_loss:.4f}, a constant's {good.constant_log_loss:.4f}" in good.sentence()


def test_what_a_shift_added_is_taken_away_again():
    chances = np.array([0.1, 0.5, 0.9])
    moved = expit(np.log(chances / (1 - chances)) - 3)
    assert without_shift(moved, -3.0) == pytest.approx(chances)
    assert without_shift(chances, 0.0) == pytest.approx(chances)


def test_a_diagram_is_drawn_of_the_figures(tmp_path, monkeypatch):
    labels, chances = made()
    drawn = []
    monkeypatch.setattr(Axes, "errorbar", lambda self, said, share, **more: drawn.append((said, share)))
    draw_reliability(labels, chances, tmp_path / "diagram.png")
    [(said, share)] = drawn
    assert len(said) == 15
    assert np.abs(said - share).max() < 0.05
    assert (np.diff(said) > 0).all()
    with Image.open(tmp_path / "diagram.png") as picture:
        assert min(picture.size) > 300
