from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onyxrank_export.training.curves import draw_curves, learning_curves

AXES = {"training": 0, "losses": 1, "metrics": 2}


def history(metric):
    figures = {step: {"eval_loss": 0.6 / step, "eval_auc": 0.5, f"eval_{metric}": 0.1 * step} for step in (1, 2, 4)}
    return [
        {"step": 1, "loss": 0.7},
        {"step": 3, "loss": 0.5},
        *({"step": step} | each for step, each in figures.items()),
    ]


def curves_of(figure, axes):
    """Label and points of each curve."""
    return {line.get_label(): line.get_xydata().tolist() for line in figure.axes[AXES[axes]].get_lines()}


@pytest.mark.parametrize(
    ("metric", "axes", "best"),
    [("ndcg_at_10", "metrics", [4, 0.4]), ("mrr", "metrics", [4, 0.4]), ("log_loss", "losses", [1, 0.1])],
)
def test_every_figure_is_a_point_and_the_best_is_marked(metric, axes, best):
    figure = learning_curves(history(metric), metric=metric)
    assert curves_of(figure, "training") == {"of pairs and lists": [[1, 0.7], [3, 0.5]]}
    assert curves_of(figure, "losses")["of pairs"] == [[1, 0.6], [2, 0.3], [4, 0.15]]
    drawn = curves_of(figure, axes)
    np.testing.assert_allclose(drawn[metric], [[1, 0.1], [2, 0.2], [4, 0.4]])
    np.testing.assert_allclose(drawn[f"best {metric}"], [best])


def test_of_the_loss_itself_the_smallest_is_best():
    entries = [{"step": 1, "loss": 0.7}]
    entries += [{"step": step, "eval_loss": 0.6 / step, "eval_auc": 0.5} for step in (1, 2, 4)]
    assert curves_of(learning_curves(entries, metric="loss"), "losses")["best loss"] == [[4, 0.15]]


def test_the_picture_shows_the_curves(tmp_path):
    draw_curves(history("ndcg_at_10"), tmp_path / "curves.png", metric="ndcg_at_10")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1800, 540)
        pixels = np.asarray(picture.convert("RGB"))
    blue = (pixels == (31, 119, 180)).all(axis=-1)  # the first curve of each axes
    assert [third.sum() > 100 for third in np.array_split(blue, 3, axis=1)] == [True, True, True]
