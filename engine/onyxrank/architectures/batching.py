"""Cuts rows into micro-batches of similar length, and pads them.

1. The length of a row is its number of tokens in the micro-batch. With cross it counts the history and the item, with
   shared-history the item alone.
2. Rows are sorted by length, longest first, and rows of one length stay in input order. Neighbours then waste little
   padding on each other. The first run is the largest, so that the session allocates its memory once.
3. Rows are taken in that order while ``longest x count`` stays within the budget of tokens. A row that is longer than
   the budget is a micro-batch alone. Every row is in exactly one micro-batch.
4. Where several micro-batches run at once, their number is rounded up to a multiple of that, and the rows are spread
   evenly over them. Otherwise most sessions would wait while a last one finishes the rest.
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
        micro_batch_tokens: most tokens of one run, padding included. It should be small enough that a run stays in
            the CPU's cache, and large enough to keep the threads busy. It also bounds the memory of a run.
        at_once: how many micro-batches of a request run at the same time.
        shared: whether a micro-batch may hold rows of several callers. It may not where scores depend on the other
            rows, or one caller's request would change another's scores.

    """

    micro_batch_tokens: int = 2048
    at_once: int = 1
    shared: bool = True

    def __post_init__(self) -> None:
        # A number of numpy becomes one of Python, since JSON and onnxruntime do not accept numpy's.
        for field in ("micro_batch_tokens", "at_once"):
            object.__setattr__(self, field, check_count(getattr(self, field), field))


def micro_batches(lengths: NDArray[np.int64], budget: int, at_once: int = 1) -> list[NDArray[np.intp]]:
    """Group rows into micro-batches.

    Args:
        lengths: number of tokens of each row, [rows].
        budget: most tokens of a micro-batch, padding included.
        at_once: how many micro-batches run at the same time.

    Returns:
        For each micro-batch the indices of its rows, longest first; the micro-batches in the order to run them.

    """
    order = np.argsort(-lengths, kind="stable")
    longest_first = np.maximum(1, lengths[order])
    sizes = _sizes(longest_first, budget)
    if at_once > 1:
        in_all = math.ceil(len(sizes) / at_once) * at_once
        sizes = _sizes(longest_first, budget, in_all)
    return np.split(order, np.cumsum(sizes[:-1])) if sizes else []


def _sizes(lengths: NDArray[np.int64], budget: int, groups: int = 0) -> list[int]:
    """Choose the number of rows of each micro-batch.

    Args:
        lengths: number of tokens of each row, longest first.
        budget: most tokens of a micro-batch, padding included.
        groups: number of micro-batches to spread the tokens over evenly; 0 to take as many rows as fit each time.

    """
    sizes: list[int] = []
    # left[i] is the number of tokens of the rows from i on.
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
        sequences: token ids of many sequences.
        rows: indices of the sequences to take, in the order in which they become rows.
        pad_id: token id to pad with.
        width: smallest number of columns; there are more if a sequence is longer.

    """
    lengths = sequences.lengths[rows]
    columns = np.arange(max(width, int(lengths.max())))
    input_ids = np.full((len(rows), len(columns)), pad_id, dtype=np.int64)
    scatter(input_ids, sequences, rows, np.zeros_like(lengths))
    return input_ids, (columns < lengths[:, None]).astype(np.int64)


def scatter(target: NDArray[np.int64], source: Ragged, picked: NDArray[np.intp], columns: NDArray[np.int64]) -> None:
    """Write sequences into the rows of a matrix.

    Args:
        target: the matrix, [rows, columns].
        source: token ids of many sequences.
        picked: for each row the index of the sequence to write into it, [rows].
        columns: for each row the column of the sequence's first token, [rows].

    """
    lengths = source.lengths[picked]
    row = np.repeat(np.arange(len(picked)), lengths)
    within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    target[row, columns[row] + within] = source.ids[source.offsets[picked][row] + within]
