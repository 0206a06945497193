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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.names import SHARED_HISTORY
from onyxrank.checks import check_count
from onyxrank.request.token_ids import EncodedRequest, Ragged


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

    @classmethod
    def of(cls, architecture: str) -> BatchLimits:
        """What is fast on CPUs (benchmarks/NOTES.md); shared-history counts the items' tokens only."""
        return cls(micro_batch_tokens=1024) if architecture == SHARED_HISTORY else cls()

    def __post_init__(self) -> None:
        # A numpy number becomes Python's, which JSON and onnxruntime take.
        for field in ("micro_batch_tokens", "at_once"):
            object.__setattr__(self, field, check_count(getattr(self, field), field))


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of several requests, one after the other.

    Attributes:
        histories: segment A of each request.
        items: segment B of each row.
        history_of: intp [rows], the request of each row.
        lengths: int64 [rows], tokens of each row.

    """

    histories: Ragged
    items: Ragged
    history_of: NDArray[np.intp]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, requests: Sequence[EncodedRequest]) -> Rows:
        """Line up the rows of at least one request."""
        histories = _concatenate([request.history for request in requests])
        items = _concatenate(
            [request.items.ids for request in requests], [request.items.lengths for request in requests]
        )
        history_of = np.repeat(np.arange(len(requests)), [len(request.items) for request in requests])
        return cls(histories, items, history_of, histories.lengths[history_of] + items.lengths)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The arrays of one run: int64 [rows, longest] each.

    Attributes:
        input_ids: history, item, then padding.
        attention_mask: 1 on tokens, 0 on padding.
        token_type_ids: 1 on the item's tokens, 0 elsewhere.

    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]

    @classmethod
    def stack(cls, batches: Sequence[MicroBatch]) -> MicroBatch:
        """Put micro-batches of the same width one under the other."""
        if len(batches) == 1:
            return batches[0]
        return cls(
            np.concatenate([batch.input_ids for batch in batches]),
            np.concatenate([batch.attention_mask for batch in batches]),
            np.concatenate([batch.token_type_ids for batch in batches]),
        )


def plan(lengths: NDArray[np.int64], budget: int, at_once: int = 1) -> list[NDArray[np.intp]]:
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


def pad(rows: Rows, indices: NDArray[np.intp], pad_id: int, width: int = 0) -> MicroBatch:
    """Build the arrays of one micro-batch, its rows in the order of the indices, padded to the longest or `width`."""
    owners = rows.history_of[indices]
    history_lengths = rows.histories.lengths[owners]
    lengths = rows.lengths[indices]
    columns = np.arange(max(width, int(lengths.max())))
    input_ids = np.full((len(indices), len(columns)), pad_id, dtype=np.int64)
    _scatter(input_ids, rows.histories, owners, np.zeros_like(history_lengths))
    _scatter(input_ids, rows.items, indices, history_lengths)
    attended = columns < lengths[:, None]
    typed = attended & (columns >= history_lengths[:, None])
    return MicroBatch(input_ids, attended.astype(np.int64), typed.astype(np.int64))


def pad_items(
    items: Ragged, indices: NDArray[np.intp], pad_id: int, width: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Build ``input_ids`` and ``attention_mask`` of items without their history, padded to the longest or `width`."""
    lengths = items.lengths[indices]
    columns = np.arange(max(width, int(lengths.max())))
    input_ids = np.full((len(indices), len(columns)), pad_id, dtype=np.int64)
    _scatter(input_ids, items, indices, np.zeros_like(lengths))
    return input_ids, (columns < lengths[:, None]).astype(np.int64)


def _scatter(target: NDArray[np.int64], source: Ragged, picked: NDArray[np.intp], columns: NDArray[np.int64]) -> None:
    """Write the picked sequences into the rows of the target, each from its own column on."""
    lengths = source.lengths[picked]
    row = np.repeat(np.arange(len(picked)), lengths)
    within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    target[row, columns[row] + within] = source.ids[source.offsets[picked][row] + within]


def _concatenate(parts: list[NDArray[np.int32]], lengths: list[NDArray[np.int64]] | None = None) -> Ragged:
    """Join flat ids whose sequences have the given lengths (by default each part is one sequence)."""
    sizes = np.array([len(part) for part in parts]) if lengths is None else np.concatenate(lengths)
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return Ragged(np.concatenate(parts), offsets)
