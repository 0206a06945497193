"""The learning curves of a run, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(history: Sequence[Mapping[str, float]], target: Path, *, metric: str) -> None:
    """Write a PNG of training loss, validation loss and validation metrics over steps, each with its own axis.

    The training loss holds the one over lists and what is learnt of a teacher, the validation loss is that of pairs.

    Args:
        history: log entries with ``step`` and some of ``loss``, ``eval_loss``, ``eval_auc``, ``eval_ndcg_at_10``.
        target: the file to write.
        metric: the metric that picked the checkpoint; its best point is marked.

    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    training, losses, metrics = figure.subplots(1, 3)
    _line(training, history, "loss", "of pairs and lists")
    _line(losses, history, "eval_loss", "of pairs")
    if metric == "log_loss":
        _line(losses, history, "eval_log_loss", "log_loss")
    training.set(title="Training: cross-entropy", xlabel="step")
    losses.set(title="Validation: cross-entropy", xlabel="step")
    is_loss = metric in ("loss", "log_loss")
    for name in dict.fromkeys(("auc", "ndcg_at_10", "accuracy", *(() if is_loss else (metric,)))):
        _line(metrics, history, f"eval_{name}", name)
    best = [(entry[f"eval_{metric}"], entry["step"]) for entry in history if f"eval_{metric}" in entry]
    if best:
        value, step = min(best) if is_loss else max(best)
        axes = losses if is_loss else metrics
        axes.plot([step], [value], "o", color="black", markersize=5, label=f"best {metric}")
    metrics.set(title="Validation: metrics", xlabel="step")
    for axes in (training, losses, metrics):
        axes.grid(visible=True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(target, dpi=150)


def _line(axes: Axes, history: Sequence[Mapping[str, float]], key: str, label: str) -> None:
    points = [(entry["step"], entry[key]) for entry in history if key in entry]
    if points:
        axes.plot(*zip(*points, strict=True), marker=".", label=label)
