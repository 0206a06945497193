from __future__ import annotations

import pytest

from onyxrank_export.training.curves import draw_curves


@pytest.mark.parametrize("metric", ["ndcg_at_10", "mrr", "loss", "log_loss"])
def test_curves_of_any_metric_are_drawn(tmp_path, metric):
    history = [{"step": 1, "loss": 0.7}]
    history += [{"step": step, "eval_loss": 0.6, f"eval_{metric}": 0.1 * step, "eval_auc": 0.5} for step in (1, 2)]
    draw_curves(history, tmp_path / "curves.png", metric=metric)
    assert (tmp_path / "curves.png").stat().st_size > 5_000
