"""Parity: makes sure that the ONNX graphs give the eager PyTorch model's logits on real pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import pair_feeds
from onyxrank.architectures.shared_history import history_state, item_feeds
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.sessions.arrays import Feeds, on_host
from onyxrank.sessions.session import Session
from onyxrank_export.conversion.errors import ExportError

TOLERANCE = 1e-4
"""Largest absolute difference of a logit that counts as the same."""
_ALONE = 16
_TOGETHER = 64
"""How many pairs at most are run one by one, and how many in one batch."""


def check_parity(model: PreTrainedModel, session: Session, requests: Sequence[EncodedRequest], pad_id: int) -> float:
    """Compare a graph over pairs with PyTorch: on single pairs and on batches, padded and unpadded.

    Args:
        model: the reference: the eager fp32 model in evaluation mode.
        session: a graph with the inputs ``input_ids``, ``attention_mask`` and ``token_type_ids``.
        requests: real requests with at least one item among them.
        pad_id: token id to pad with.

    Returns:
        Largest absolute difference of a logit.

    Raises:
        ExportError: if it is above 1e-4, or the graph does not answer as many classes.

    """
    call = Call(requests)
    lengths = call.pair_lengths
    chosen = np.linspace(0, len(lengths) - 1, min(_TOGETHER, len(lengths))).astype(np.intp)
    worst = 0.0
    for indices, width in _padded_and_not(lengths, chosen):
        feeds = pair_feeds(call, indices, pad_id, width)
        expected = eager_logits(model, feeds)
        logits = on_host(*session.run(feeds))
        if logits.shape != expected.shape:
            raise ExportError(f"the graph answers {logits.shape} where PyTorch answers {expected.shape}")
        # Not Python's max, which passes over NaN.
        worst = float(np.maximum(worst, np.abs(logits - expected).max()))
    return within_tolerance(worst)


def check_parity_of_two(
    model: PreTrainedModel, history: Session, items: Session, requests: Sequence[EncodedRequest], pad_id: int
) -> float:
    """Compare the two graphs of shared-history, run one after the other, with PyTorch on pairs.

    Each request's items run alone and in batches, padded and unpadded.

    Args:
        model: the reference: the eager fp32 model in evaluation mode.
        history: the graph of the history.
        items: the graph of the items.
        requests: real requests with at least one item among them.
        pad_id: token id to pad with.

    Returns:
        Largest absolute difference of a logit.

    Raises:
        ExportError: if it is above 1e-4.

    """
    worst = 0.0
    for request in requests:
        call = Call([request])
        state = history_state(history, request.history)
        if not len(request.items):
            continue
        for indices, width in _padded_and_not(request.items.lengths, np.arange(len(request.items)), alone=1):
            logits = on_host(*items.run(item_feeds(request.items, indices, pad_id, state, width)))
            expected = eager_logits(model, pair_feeds(call, indices, pad_id))
            worst = float(np.maximum(worst, np.abs(logits - expected).max()))
    return within_tolerance(worst)


def _padded_and_not(
    lengths: NDArray[np.int64], chosen: NDArray[np.intp], alone: int = _ALONE
) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Choose batches to compare: rows to run together, and the width to pad them to (0 for that of the longest).

    They are all chosen rows, padded; those of the commonest length, unpadded; some rows alone; and the shortest row
    alone, padded to the longest.
    """
    own = lengths[chosen]
    values, counts = np.unique(own, return_counts=True)
    yield chosen, 0
    yield chosen[own == values[counts.argmax()]], 0
    for index in range(min(alone, len(chosen))):
        yield chosen[[index]], 0
    yield chosen[[own.argmin()]], int(own.max())


def within_tolerance(worst: float, what: str = "logits") -> float:
    """Give the largest difference of a graph's answers from PyTorch's.

    Raises:
        ExportError: if it is above `TOLERANCE`.

    """
    if not worst <= TOLERANCE:
        raise ExportError(f"the graph's {what} differ from PyTorch's by {worst:.2e} (limit {TOLERANCE:.0e})")
    return worst


def eager_logits(model: Any, feeds: Feeds) -> NDArray[np.float32]:
    """Run the eager model on the engine's arrays: logits, float32 [rows, classes]."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = (
            model(**{name: torch.from_numpy(ids) for name, ids in feeds.items()}).logits.float().numpy()
        )
    return logits
