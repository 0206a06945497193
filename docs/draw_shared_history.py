"""Draws shared-history.png, the picture of docs/shared-history.md: python docs/draw_shared_history.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle

HISTORY, ITEM, INK = "#0072b2", "#e69f00", "#333333"
_LONG, _SHORT, _HEIGHT = 4.6, 1.7, 0.62


def main() -> None:
    """Draw both architectures side by side."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
    for axes, title in (
        (left, "cross: the history again for every item"),
        (right, "shared-history: the history once, then items alone"),
    ):
        axes.set_xlim(-0.2, 8.4)
        axes.set_ylim(-0.5, 4.3)
        axes.axis("off")
        axes.set_title(title, loc="left", fontsize=11, color=INK)
    for row in range(4):
        y = 3.2 - row * 0.95
        box(left, 0, y, _LONG, "[CLS] history [SEP]", HISTORY)
        box(left, _LONG, y, _SHORT, f"item {row + 1}" if row < 3 else "item n", ITEM)
        left.annotate("→ score", (_LONG + _SHORT + 0.15, y + _HEIGHT / 2), va="center", fontsize=9, color=INK)
    box(right, 0, 1.78, _LONG - 1.1, "[CLS] history [SEP]", HISTORY)
    right.annotate("keys and values,\nkept for the next request", (0.1, 1.05), fontsize=9, color=HISTORY, va="center")
    for row in range(4):
        y = 3.2 - row * 0.95
        box(right, _LONG + 0.6, y, _SHORT, f"item {row + 1}" if row < 3 else "item n", ITEM)
        right.add_patch(
            FancyArrowPatch(
                (_LONG + 0.55, y + _HEIGHT / 2),
                (_LONG - 1.05, 1.78 + _HEIGHT / 2),
                arrowstyle="-|>",
                mutation_scale=11,
                color=INK,
                linewidth=0.9,
            )
        )
        right.annotate("→ score", (_LONG + _SHORT + 0.75, y + _HEIGHT / 2), va="center", fontsize=9, color=INK)
    right.annotate("arrows: who attends to whom; the history sees no item", (0.0, -0.35), fontsize=9, color=INK)
    left.annotate("cost: n × (history + item) tokens", (0.0, -0.35), fontsize=9, color=INK)
    right.annotate("cost: history + n × item tokens", (0.0, 3.55), fontsize=9, color=INK)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("shared-history.png"), dpi=120, metadata={"Software": None})


def box(axes: Any, x: float, y: float, width: float, text: str, colour: str) -> None:
    """A filled box with white text."""
    axes.add_patch(Rectangle((x, y), width - 0.06, _HEIGHT, color=colour))
    axes.annotate(text, (x + width / 2 - 0.03, y + _HEIGHT / 2), ha="center", va="center", fontsize=9, color="white")


if __name__ == "__main__":
    main()
