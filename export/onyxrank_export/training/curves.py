"""The learning curves of a run, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 150


def draw_curves(history: Sequence[Mapping[str, float]], target: Path, *, metric: str) -> None:
    """Write `learning_curves` as a PNG of 1,800 × 540 pixels."""
    learning_curves(history, metric=metric).savefig(target, dpi=_DOTS_PER_INCH)


def learning_curves(history: Sequence[Mapping[str, float]], *, metric: str) -> Figure:
    """Draw training loss, validation loss and validation metrics over steps, each on axes of its own.

    The training loss holds the one over lists and what is learnt of a teacher; the validation loss is that of pairs.

    Args:
        history: log entries with ``step`` and some of ``loss``, ``eval_loss``, ``eval_auc``, ``eval_ndcg_at_10``.
        metric: the metric that picked the checkpoint; its best point is marked with a black dot.

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
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
    return figure


def _line(axes: Axes, history: Sequence[Mapping[str, float]], key: str, label: str) -> None:
    points = [(entry["step"], entry[key]) for entry in history if key in entry]
    if points:
        axes.plot(*zip(*points, strict=True), marker=".", label=label)
