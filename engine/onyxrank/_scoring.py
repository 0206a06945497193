"""Architectures: how encoded requests become probabilities.

`Cross` sends every row, history and item together, through one graph. An architecture with more graphs
(shared-history: one for the history, one for the items) takes more sessions and answers the same call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onyxrank._batching import BatchLimits, Rows, pad, plan
from onyxrank._encoding import EncodedRequest
from onyxrank._errors import BundleError, NonFiniteScore
from onyxrank._manifest import Manifest
from onyxrank._session import Session
from onyxrank._timing import Stopwatch


class Architecture(Protocol):
    """Scores encoded requests. Safe to share between threads."""

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request.

        Args:
            requests: the requests; their rows share micro-batches.
            watch: where to add the time of the stages ``batch`` and ``run``.

        Returns:
            Per request, float32 probabilities in [0, 1] in input order.

        Raises:
            NonFiniteScore: if the model answers NaN or infinity; names the item.

        """

    def close(self) -> None:
        """Close the sessions."""


class Cross:
    """One graph over ``[CLS] history [SEP] item [SEP]``.

    Args:
        session: the graph, inputs ``input_ids, attention_mask, token_type_ids``, output ``logits``.
        head: ``softmax`` over 2 logits (class 1 is the purchase) or ``sigmoid`` of 1.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.

    """

    def __init__(self, session: Session, head: str, limits: BatchLimits, pad_id: int = 0) -> None:
        self._session = session
        self._head = head
        self._limits = limits
        self._pad_id = pad_id

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request; see `Architecture.score`."""
        if not requests:
            return []
        watch = watch or Stopwatch()
        with watch.stage("batch"):
            rows = Rows.of(requests)
            groups = plan(rows.lengths, self._limits.micro_batch_tokens)
        scores = np.empty(len(rows.lengths), dtype=np.float32)
        for indices in groups:
            with watch.stage("batch"):
                batch = pad(rows, indices, self._pad_id)
            with watch.stage("run"):
                [logits] = self._session.run(
                    {
                        "input_ids": batch.input_ids,
                        "attention_mask": batch.attention_mask,
                        "token_type_ids": batch.token_type_ids,
                    }
                )
            _check_logits(logits, self._head, indices, requests)
            scores[indices] = probabilities(logits, self._head)
        return np.split(scores, np.cumsum([len(request.items) for request in requests])[:-1])

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def build_architecture(
    manifest: Manifest, sessions: Mapping[str, Session], limits: BatchLimits, pad_id: int
) -> Architecture:
    """Put a bundle's sessions, by role, together as its architecture says."""
    if manifest.architecture == "cross":
        return Cross(sessions["model"], manifest.head, limits, pad_id)
    raise BundleError(f"the architecture {manifest.architecture!r} has no implementation in this onyxrank")


def probabilities(logits: NDArray[np.float32], head: str) -> NDArray[np.float32]:
    """Turn finite logits [rows, 2] (``softmax``) or [rows, 1] (``sigmoid``) into probabilities [rows]."""
    # In double precision, cast once at the end: a half-precision sigmoid makes ties of different logits.
    wide = logits.astype(np.float64)
    margin = wide[:, 1] - wide[:, 0] if head == "softmax" else wide[:, 0]
    decay = np.exp(-np.abs(margin))
    return (np.where(margin >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)


def _check_logits(
    logits: NDArray[np.float32], head: str, indices: NDArray[np.intp], requests: Sequence[EncodedRequest]
) -> None:
    expected = (len(indices), 2 if head == "softmax" else 1)
    if logits.shape != expected:
        raise BundleError(
            f"the graph answers logits of shape {list(logits.shape)} where the head {head!r} needs "
            f"{list(expected)}; export the bundle again"
        )
    broken = indices[~np.isfinite(logits).all(axis=1)]
    if len(broken):
        starts = np.cumsum([0, *(len(request.items) for request in requests)])
        row = int(broken.min())
        request = int(np.searchsorted(starts, row, side="right")) - 1
        index = row - int(starts[request])
        place = f"items[{index}]" if len(requests) == 1 else f"items[{index}] of requests[{request}]"
        raise NonFiniteScore(
            f"the model answered NaN or infinity for {place}; check the bundle with `onyxrank inspect`",
            index=index,
        )
