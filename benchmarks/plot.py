"""The latency report as a picture: latency by items, and the speed-up over eager PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from figures import EAGER, Figures, find, label, median_ms

mpl.use("Agg")
import matplotlib.pyplot as plt

_HISTORY, _ITEMS = 128, 100
_ENGINE_COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#cc79a7")
_EAGER_COLOURS = ("#b8b8b8", "#7a7a7a", "#333333")
_INK = "#333333"


def draw(figures: Figures, target: Path) -> None:
    """Draw both panels for the measured history nearest to 128 tokens and the list nearest to 100 items."""
    history = min(figures.histories(), key=lambda tokens: abs(tokens - _HISTORY))
    colours = _colours(figures)
    machine = figures.content["record"]["machine"]
    figure, (lines, bars) = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(1.15, 1))
    _draw_lines(lines, figures, history, colours)
    _draw_bars(bars, figures, history, colours)
    caption = f"{machine['cpu_model']}, {figures.content['threads']} threads"
    if figures.crowded():
        caption += " – NOT VALID: other processes used the CPUs meanwhile"
    figure.suptitle(caption, fontsize=9, color=_INK, x=0.01, ha="left")
    figure.tight_layout()
    figure.savefig(target, dpi=140, metadata={"Software": None})
    plt.close(figure)


def _draw_lines(axes: Any, figures: Figures, history: int, colours: dict[str, str]) -> None:
    cells = figures.of_history(history)
    for name in figures.names():
        points = [(cell["items"], median_ms(way)) for cell in cells if (way := find(cell, name))]
        axes.plot(
            *zip(*points, strict=True),
            marker="o",
            markersize=4,
            color=colours[name],
            linestyle="--" if name in EAGER else "-",
            label=label(name),
        )
    axes.set(xscale="log", yscale="log", xlabel="items in the list", ylabel="median latency, ms")
    axes.set_xticks([cell["items"] for cell in cells], [f"{cell['items']:,}" for cell in cells])
    axes.minorticks_off()
    axes.set_title(f"Latency, history of {history} tokens", loc="left", fontsize=11)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.8)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bars(axes: Any, figures: Figures, history: int, colours: dict[str, str]) -> None:
    cell = min(figures.of_history(history), key=lambda cell: abs(cell["items"] - _ITEMS))
    rows = [(name, way["speedup"]) for name in reversed(figures.names()) if (way := find(cell, name))]
    rows = [(name, speedup) for name, speedup in rows if speedup is not None]
    drawn = axes.barh([label(name) for name, _ in rows], [speedup for _, speedup in rows], height=0.65)
    for bar, (name, _) in zip(drawn, rows, strict=True):
        bar.set_color(colours[name])
    axes.bar_label(drawn, fmt="%.2f×", padding=4, fontsize=9, color=_INK)
    axes.axvline(1, color=_INK, linewidth=0.8, zorder=0)
    axes.set_xlim(0, 1.15 * max((speedup for _, speedup in rows), default=1.0))
    axes.set_title(f"Speed-up over (b), {cell['items']:,} items", loc="left", fontsize=11)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _colours(figures: Figures) -> dict[str, str]:
    """Choose a colour for each way: greys for PyTorch, and for the engine some that the colour-blind tell apart."""
    engine = [name for name in figures.names() if name not in EAGER]
    colours = {name: _ENGINE_COLOURS[index % len(_ENGINE_COLOURS)] for index, name in enumerate(engine)}
    return colours | dict(zip(EAGER, _EAGER_COLOURS, strict=True))
