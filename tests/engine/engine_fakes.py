"""A session driven by a callable, and rankers around it: most tests need no model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from onyxrank import Limits, OnyxrankError, Ranker
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.cross import Cross
from onyxrank.loading.engine import Engine
from onyxrank.request.encoding import TextEncoder
from onyxrank.scheduling.scheduler import Scheduler
from onyxrank.sessions.session import SessionInfo

Feeds = Mapping[str, NDArray[np.int64]]


def flat(feeds: Feeds) -> NDArray[np.float32]:
    """Every row the same logits."""
    return np.zeros((len(feeds["input_ids"]), 2), dtype=np.float32)


def by_content(feeds: Feeds) -> NDArray[np.float32]:
    """Logits that depend on the row's tokens, types and order, and not on its padding."""
    ids, mask, types = (feeds[name] for name in ("input_ids", "attention_mask", "token_type_ids"))
    weights = np.arange(1, ids.shape[1] + 1) * (1 + 2 * types) * mask
    margin = np.sin((ids * weights).sum(axis=1) / 7.0) * 3
    return np.stack([np.zeros_like(margin), margin], axis=1).astype(np.float32)


class FakeSession:
    """Answers with a callable and keeps the shapes it was asked for."""

    def __init__(self, answer: Callable[[Feeds], NDArray[np.float32]] = by_content) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.shapes: list[tuple[int, ...]] = []
        self.closed = 0

    def run(self, feeds: Feeds) -> list[NDArray[np.float32]]:
        if self.closed:
            raise OnyxrankError("this session is closed")
        with self._lock:
            self.shapes.append(feeds["input_ids"].shape)
        return [self._answer(feeds)]

    def info(self) -> SessionInfo:
        return SessionInfo(providers=("Fake",), threads=1, onnxruntime_version="0", options={})

    def close(self) -> None:
        self.closed += 1


def fake_ranker(
    tokenizer: Tokenizer,
    session: FakeSession | None = None,
    *,
    head: str = "softmax",
    budget: int = 2048,
    limits: Limits | None = None,
) -> Ranker:
    encoder = TextEncoder(tokenizer, limits or Limits(history_tokens=64, item_tokens=32))
    cross = Cross({"model": session or FakeSession()}, head, BatchLimits(micro_batch_tokens=budget))
    return Ranker(Engine(encoder, Scheduler(cross), {"bundle": "fake"}))
