"""Draws request.png, the picture of docs/architecture.md: python docs/draw_request.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

INK, ROOM, VALUE = "#333333", "#0072b2", "#9c5700"
_WAY = (
    ("texts", "request/items", "checks them", "Item"),
    ("Item", "request/encoding", "tokenizes, cuts", "EncodedRequest"),
    ("EncodedRequest", "architectures/*", "cuts into steps", "Call of Steps"),
    ("Call of Steps", "scheduling/*", "picks who runs", "Step"),
    ("Step", "sessions/*", "runs the graph", "arrays"),
    ("arrays", "architectures/readout", "takes margins", "margins"),
    ("margins", "request/ranking", "sorts", "Ranking of Hits"),
)
_WIDTH, _HEIGHT, _GAP = 2.3, 1.0, 0.62


def main() -> None:
    """Draw the modules of a request's way as boxes, and between them what is handed on."""
    figure, axes = plt.subplots(figsize=(11, 3.5))
    per_row = 4
    axes.set_xlim(-0.9, per_row * (_WIDTH + _GAP) + 0.4)
    axes.set_ylim(-2.6, 1.6)
    axes.axis("off")
    for number, (_, module, does, out) in enumerate(_WAY):
        row, column = divmod(number, per_row)
        x, y = column * (_WIDTH + _GAP), -row * 2.0
        axes.add_patch(FancyBboxPatch((x, y), _WIDTH, _HEIGHT, boxstyle="round,pad=0.02", color=ROOM))
        axes.annotate(module, (x + _WIDTH / 2, y + 0.64), ha="center", va="center", fontsize=9.5, color="white")
        axes.annotate(does, (x + _WIDTH / 2, y + 0.3), ha="center", va="center", fontsize=8.5, color="white")
        axes.annotate(
            "",
            (x, y + _HEIGHT / 2),
            (x - _GAP + 0.04, y + _HEIGHT / 2),
            arrowprops={"arrowstyle": "-|>", "color": INK},
        )
        axes.annotate(
            out, (x + _WIDTH + _GAP / 2, y + _HEIGHT + 0.2), ha="center", va="center", fontsize=8.5, color=VALUE
        )
    axes.annotate("texts, tables", (-0.85, 1.14), fontsize=8.5, color=VALUE)
    axes.annotate(
        "Blue: a module, and what it does. Orange: what it hands on. Arrows never turn back.",
        (0, -2.45),
        fontsize=9,
        color=INK,
    )
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("request.png"), dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
