"""Cuts the rows of one or more requests into padded micro-batches.

1. A row is one candidate with its history. Its length is the tokens of both.
2. Rows are sorted by length, longest first and stable: neighbours waste little padding on each other and
   the first run is the largest, so the session's memory is sized once.
3. Rows are taken in that order while ``longest x count`` stays within the budget, in tokens. A row longer
   than the budget goes alone. Every row is in exactly one micro-batch.
4. Where several micro-batches run at once, the rows are spread evenly over as many as keep all of them at work to
   the end, instead of leaving the rest to a last one.
5. Each micro-batch is padded to its own longest row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.checks import check_count
from onyxrank.request.token_ids import Ragged


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How large a micro-batch may get.

    Attributes:
        micro_batch_tokens: most tokens of one run, padding included. Small enough to stay in the CPU's cache,
            large enough to keep the threads busy; also what bounds memory.
        at_once: how many run at the same time.

    """

    micro_batch_tokens: int = 2048
    at_once: int = 1

    def __post_init__(self) -> None:
        # A numpy number becomes Python's, which JSON and onnxruntime take.
        for field in ("micro_batch_tokens", "at_once"):
            object.__setattr__(self, field, check_count(getattr(self, field), field))


def micro_batches(lengths: NDArray[np.int64], budget: int, at_once: int = 1) -> list[NDArray[np.intp]]:
    """Group rows into micro-batches.

    Args:
        lengths: [rows], tokens of each row.
        budget: most tokens of a micro-batch, padding included.
        at_once: how many micro-batches run at the same time.

    Returns:
        Row indices of each micro-batch, in the order to run them.

    """
    order = np.argsort(-lengths, kind="stable")
    longest_first = np.maximum(1, lengths[order])
    sizes = _sizes(longest_first, budget)
    if at_once > 1:
        in_all = math.ceil(len(sizes) / at_once) * at_once
        sizes = _sizes(longest_first, budget, in_all)
    return np.split(order, np.cumsum(sizes[:-1])) if sizes else []


def _sizes(lengths: NDArray[np.int64], budget: int, groups: int = 0) -> list[int]:
    """Rows of each micro-batch, sorted by length: as many as fit, or of so many an even share."""
    sizes: list[int] = []
    start, left = 0, np.cumsum(lengths[::-1])[::-1]
    while start < len(lengths):
        longest = int(lengths[start])
        size = max(1, budget // longest)
        if groups > len(sizes):
            size = min(size, math.ceil(left[start] / (longest * (groups - len(sizes)))))
        sizes.append(min(size, len(lengths) - start))
        start += size
    return sizes


def pad(
    sequences: Ragged, rows: NDArray[np.intp], pad_id: int, width: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Build ``input_ids`` and ``attention_mask`` of some sequences, int64 [rows, width] each.

    Args:
        sequences: token ids.
        rows: which of them, in the order in which they become rows.
        pad_id: token id to pad with.
        width: number of columns; that of the longest row if it is longer.

    """
    lengths = sequences.lengths[rows]
    columns = np.arange(max(width, int(lengths.max())))
    input_ids = np.full((len(rows), len(columns)), pad_id, dtype=np.int64)
    scatter(input_ids, sequences, rows, np.zeros_like(lengths))
    return input_ids, (columns < lengths[:, None]).astype(np.int64)


def scatter(target: NDArray[np.int64], source: Ragged, picked: NDArray[np.intp], columns: NDArray[np.int64]) -> None:
    """Write the picked sequences into the rows of the target, each from its own column on."""
    lengths = source.lengths[picked]
    row = np.repeat(np.arange(len(picked)), lengths)
    within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    target[row, columns[row] + within] = source.ids[source.offsets[picked][row] + within]
