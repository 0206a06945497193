"""Architectures: how encoded requests become probabilities.

`Cross` sends every row, history and item together, through one graph. `SharedHistory` computes a history once, with
a graph of its own, and scores the items of the request against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onyxrank._batching import BatchLimits, MicroBatch, Rows, pad, pad_items, plan
from onyxrank._encoding import EncodedRequest, Ragged
from onyxrank._errors import BundleError, NonFiniteScore
from onyxrank._graphs import CROSS, SHARED_HISTORY
from onyxrank._history import HistoryCache, HistoryState
from onyxrank._lanes import Lanes
from onyxrank._session import Feeds, Session
from onyxrank._timing import Stopwatch


class Architecture(Protocol):
    """Scores encoded requests. Safe to share between threads."""

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request.

        Args:
            requests: the requests; micro-batches may hold rows of several.
            watch: where to add the time of the stages ``history``, ``batch`` and ``run``.

        Returns:
            Per request, float32 probabilities in [0, 1] in input order.

        Raises:
            NonFiniteScore: if the model answers NaN or infinity; names the item.

        """

    def prepare(self, history: NDArray[np.int32]) -> HistoryState | None:
        """Compute what can be known of a history's token ids before the items are; None where that is nothing."""

    def facts(self) -> dict[str, object]:
        """What changes while it serves, as JSON values."""

    def close(self) -> None:
        """Close the sessions."""


class Cross:
    """One graph over ``[CLS] history [SEP] item [SEP]``.

    Args:
        session: the graph, inputs ``input_ids, attention_mask, token_type_ids``, output ``logits``.
        head: ``softmax`` over 2 logits (class 1 is the purchase) or ``sigmoid`` of 1.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.
        lanes: where micro-batches run; one after the other by default.

    """

    def __init__(
        self, session: Session, head: str, limits: BatchLimits, pad_id: int = 0, lanes: Lanes | None = None
    ) -> None:
        self._session = session
        self._head = head
        self._limits = limits
        self._pad_id = pad_id
        self._lanes = lanes or Lanes()

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request; see `Architecture.score`."""
        if not requests:
            return []
        watch = watch or Stopwatch()
        with watch.stage("batch"):
            rows = Rows.of(requests)
            groups = plan(rows.lengths, self._limits.micro_batch_tokens)

        def feeds(indices: NDArray[np.intp]) -> Feeds:
            return pair_feeds(pad(rows, indices, self._pad_id))

        scores = np.empty(len(rows.lengths), dtype=np.float32)
        for indices, logits in self._lanes.run(self._session, groups, feeds, watch):
            _check_logits(logits, self._head, indices, requests)
            scores[indices] = probabilities(logits, self._head)
        return np.split(scores, np.cumsum([len(request.items) for request in requests])[:-1])

    def prepare(self, history: NDArray[np.int32]) -> HistoryState | None:
        """Nothing: every row computes its history again."""
        return None

    def facts(self) -> dict[str, object]:
        """Nothing changes."""
        return {}

    def close(self) -> None:
        """Close the session and the lanes."""
        self._lanes.close()
        self._session.close()


class SharedHistory:
    """Two graphs: ``[CLS] history [SEP]`` to keys and values, and ``item [SEP]`` with these to logits.

    Args:
        history: the graph of the history.
        items: the graph of the items.
        head: as of `Cross`.
        limits: how large a micro-batch may get, in tokens of items.
        pad_id: token id to pad with.
        cache: where the states of histories are kept.
        lanes: as of `Cross`.

    """

    def __init__(
        self,
        history: Session,
        items: Session,
        head: str,
        limits: BatchLimits,
        pad_id: int = 0,
        cache: HistoryCache | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self._history, self._items = history, items
        self._head = head
        self._limits = limits
        self._pad_id = pad_id
        self._cache = cache or HistoryCache()
        self._lanes = lanes or Lanes()

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request; see `Architecture.score`. Each request has micro-batches of its own."""
        watch = watch or Stopwatch()
        first_rows = np.cumsum([0, *(len(request.items) for request in requests)])
        return [
            self._score(request, requests, int(first_row), watch)
            for request, first_row in zip(requests, first_rows, strict=False)
        ]

    def _score(
        self, request: EncodedRequest, requests: Sequence[EncodedRequest], first_row: int, watch: Stopwatch
    ) -> NDArray[np.float32]:
        scores = np.empty(len(request.items), dtype=np.float32)
        if not len(scores):
            return scores
        state = request.state or self._state(request.history, watch)
        with watch.stage("batch"):
            groups = plan(request.items.lengths, self._limits.micro_batch_tokens)

        def feeds(indices: NDArray[np.intp]) -> Feeds:
            return item_feeds(request.items, indices, self._pad_id, state)

        for indices, logits in self._lanes.run(self._items, groups, feeds, watch):
            _check_logits(logits, self._head, indices + first_row, requests)
            scores[indices] = probabilities(logits, self._head)
        return scores

    def prepare(self, history: NDArray[np.int32]) -> HistoryState:
        """The state of a history's token ids, from the cache or computed and kept there."""
        return self._state(history, Stopwatch())

    def facts(self) -> dict[str, object]:
        """The history cache's entries, bytes, hits and misses."""
        return {"history_cache": self._cache.facts()}

    def close(self) -> None:
        """Close the lanes and both sessions, and let go of the histories."""
        self._lanes.close()
        self._history.close()
        self._items.close()
        self._cache.clear()

    def _state(self, history: NDArray[np.int32], watch: Stopwatch) -> HistoryState:
        state = self._cache.get(history)
        if state is None:
            # Two threads with one new history both compute it: that costs less than letting one wait.
            with watch.stage("history"):
                state = history_state(self._history, history)
            self._cache.put(history, state)
        return state


def pair_feeds(batch: MicroBatch) -> Feeds:
    """Inputs of the graph over pairs."""
    return {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": batch.token_type_ids,
    }


def history_feeds(history: NDArray[np.int32]) -> Feeds:
    """Inputs of the history graph for a history's token ids."""
    return {"input_ids": history[None].astype(np.int64)}


def history_state(session: Session, history: NDArray[np.int32]) -> HistoryState:
    """Run the history graph on a history's token ids."""
    keys, values = session.run(history_feeds(history))
    return HistoryState(keys, values)


def item_feeds(items: Ragged, indices: NDArray[np.intp], pad_id: int, state: HistoryState) -> Feeds:
    """Inputs of the items graph for some items, padded to the longest, against one history."""
    input_ids, attention_mask = pad_items(items, indices, pad_id)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "keys": state.keys,
        "values": state.values,
    }


def build_architecture(
    name: str,
    head: str,
    sessions: Mapping[str, Session],
    limits: BatchLimits,
    pad_id: int,
    cache: HistoryCache | None = None,
    lanes: Lanes | None = None,
) -> Architecture:
    """Put sessions, by role, together as an architecture says.

    Args:
        name: of the architecture, as in a manifest.
        head: as of `Cross`.
        sessions: by the roles of `ARCHITECTURES`.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.
        cache: of histories; the default size if None. `Cross` has no use for it.
        lanes: where micro-batches run; one after the other by default.

    Raises:
        BundleError: if there is no such architecture.

    """
    if name == CROSS:
        return Cross(sessions["model"], head, limits, pad_id, lanes)
    if name == SHARED_HISTORY:
        return SharedHistory(sessions["history"], sessions["items"], head, limits, pad_id, cache, lanes)
    raise BundleError(f"the architecture {name!r} has no implementation in this onyxrank")


def probabilities(logits: NDArray[np.float32], head: str) -> NDArray[np.float32]:
    """Turn finite logits [rows, 2] (``softmax``) or [rows, 1] (``sigmoid``) into probabilities [rows]."""
    # In double precision, cast once at the end: a half-precision sigmoid makes ties of different logits.
    wide = logits.astype(np.float64)
    margin = wide[:, 1] - wide[:, 0] if head == "softmax" else wide[:, 0]
    decay = np.exp(-np.abs(margin))
    return (np.where(margin >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)


def _check_logits(
    logits: NDArray[np.float32], head: str, rows: NDArray[np.intp], requests: Sequence[EncodedRequest]
) -> None:
    """Refuse logits of a wrong shape or that are not finite; `rows` are numbered through all requests."""
    expected = (len(rows), 2 if head == "softmax" else 1)
    if logits.shape != expected:
        raise BundleError(
            f"the graph answers logits of shape {list(logits.shape)} where the head {head!r} needs "
            f"{list(expected)}; export the bundle again"
        )
    broken = rows[~np.isfinite(logits).all(axis=1)]
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
