"""Latency of a request, from texts to a sorted ranking, for every way in every cell of the grid.

One benchmark is one cell. Inside it the ways take turns, so that they are compared under the same conditions; the
figures of each way are in the benchmark's `extra_info`. pytest-benchmark's own time is that of the whole cell.
"""

from __future__ import annotations

from typing import Any

import pytest

from cells import Bench, Cell, run_cell


def test_latency(benchmark: Any, bench: Bench, cell: Cell) -> None:
    limit = bench.bundle.manifest.limits.history_tokens
    if cell.history_tokens > limit:
        pytest.skip(f"this bundle reads {limit} tokens of history")
    benchmark.group = f"history of {cell.history_tokens} tokens"
    measured = benchmark.pedantic(run_cell, args=(cell, bench), rounds=1, iterations=1)
    benchmark.extra_info.update(measured)
    assert all(way["latency"]["repeats"] >= 1 for way in measured["ways"])
