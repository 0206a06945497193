"""The figures of a latency run, and the questions that the report asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onyxrank.measure.ways import BATCHES, BF16, EAGER_LABELS, LOOP

EAGER = (LOOP, BATCHES, BF16)

WayFigures = dict[str, Any]
CellFigures = dict[str, Any]


@dataclass(frozen=True)
class Figures:
    """The compact JSON of a run.

    Attributes:
        content: as it is written to ``latency.json``.

    """

    content: dict[str, Any]

    @property
    def cells(self) -> list[CellFigures]:
        """Cells by history, then by items."""
        cells: list[CellFigures] = self.content["cells"]
        return cells

    def histories(self) -> list[int]:
        """List the lengths of history that were measured."""
        return sorted({cell["history_tokens"] for cell in self.cells})

    def of_history(self, history: int) -> list[CellFigures]:
        """List the cells of one length of history, by items."""
        return [cell for cell in self.cells if cell["history_tokens"] == history]

    def crowded(self) -> list[CellFigures]:
        """List the cells during which other processes took CPUs that the ways needed."""
        return [cell for cell in self.cells if cell["crowded"]]

    def names(self) -> list[str]:
        """List the ways in the order of the report: the engine's first, then eager PyTorch."""
        names = dict.fromkeys(way["name"] for cell in self.cells for way in cell["ways"])
        return [name for name in names if name not in EAGER] + [name for name in EAGER if name in names]


def label(name: str) -> str:
    """Say what a way is called in tables and plots."""
    return EAGER_LABELS.get(name, f"onyxrank {name}")


def find(cell: CellFigures, name: str) -> WayFigures | None:
    """Return the figures of a way in a cell, if it took part."""
    return next((way for way in cell["ways"] if way["name"] == name), None)


def median_ms(way: WayFigures) -> float:
    """Return the median latency."""
    return float(way["latency"]["p50_ms"])


def fastest_engine(cell: CellFigures) -> WayFigures:
    """Return the engine's fastest variant in a cell."""
    return min((way for way in cell["ways"] if way["name"] not in EAGER), key=median_ms)


def faster_than_engine(cell: CellFigures, name: str) -> list[WayFigures]:
    """Return the engine's variants that an eager way beats in a cell."""
    other = find(cell, name)
    if other is None:
        return []
    return [way for way in cell["ways"] if way["name"] not in EAGER and median_ms(other) < median_ms(way)]
