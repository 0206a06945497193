"""Shared history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture, _keep
from onyxrank.architectures.batching import BatchLimits, pad_items, plan
from onyxrank.architectures.history_cache import HistoryCache, HistoryState
from onyxrank.architectures.names import HISTORY, ITEMS
from onyxrank.errors import OnyxrankError
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.request.truncation import Cuts
from onyxrank.scheduling.work import Piece, Work
from onyxrank.sessions.graph import Feeds, Graph
from onyxrank.sessions.session import Session

GRAPHS = {
    HISTORY: Graph(("input_ids",), ("keys", "values")),
    ITEMS: Graph(("input_ids", "attention_mask"), ("logits",), ("keys", "values")),
}
"""Graphs by role. What the two pass on is in `HistoryState`."""


class SharedHistory(Architecture):
    """Two graphs: ``[CLS] history [SEP]`` to keys and values, and ``item [SEP]`` with these to logits.

    Args:
        history: the graph of the history.
        items: the graph of the items.
        head: as of `Cross`.
        limits: how large a micro-batch may get, in tokens of items.
        pad_id: token id to pad with.
        cache: where the states of histories are kept.

    """

    def __init__(
        self,
        history: Session,
        items: Session,
        head: str,
        limits: BatchLimits,
        pad_id: int = 0,
        cache: HistoryCache | None = None,
    ) -> None:
        self._history, self._items = history, items
        self._head = head
        self._limits = limits
        self._pad_id = pad_id
        self._cache = cache or HistoryCache()

    def plan(self, requests: Sequence[EncodedRequest]) -> Work:
        """Cut each request into its history and micro-batches of its own items; see `Architecture.plan`."""
        work = Work(requests)
        for number, request in enumerate(requests):
            if len(request.items):
                if request.state is not None:
                    work.states[number] = request.state
                work.add(self._pieces(work, number))
        return work

    def run(self, pieces: Sequence[Piece], watch: Stopwatch) -> Sequence[OnyxrankError | None]:
        """Run a history, or items against theirs; see `Architecture.run`."""
        [piece] = pieces
        work = piece.work
        request = work.requests[piece.request]
        if piece.stage == "history":
            work.states[piece.request] = self._state(request.history, watch)
            return [None]
        with watch.stage("batch"):
            own = piece.rows - work.starts[piece.request]
            feeds = item_feeds(request.items, own, self._pad_id, work.states[piece.request])
        with watch.stage("run"):
            [logits] = self._items.run(feeds)
        return _keep(pieces, logits, self._head)

    def plan_history(self, history: NDArray[np.int32]) -> Work:
        """The history alone; see `Architecture.plan_history`."""
        work = Work([EncodedRequest(history, Ragged.of([]), Cuts())])
        work.add([_history_piece(work, 0)])
        return work

    def facts(self) -> dict[str, object]:
        """The history cache's entries, bytes, hits and misses."""
        return {"history_cache": self._cache.facts()}

    def close(self) -> None:
        """Close both sessions, and let go of the histories."""
        self._history.close()
        self._items.close()
        self._cache.clear()

    def _pieces(self, work: Work, number: int) -> Iterator[Piece]:
        request = work.requests[number]
        if request.state is None:
            yield _history_piece(work, number)
        lengths = request.items.lengths
        for group in plan(lengths, self._limits.micro_batch_tokens, self._limits.at_once):
            longest = int(lengths[group[0]])
            yield Piece(work=work, stage="run", request=number, rows=group + work.starts[number], longest=longest)

    def _state(self, history: NDArray[np.int32], watch: Stopwatch) -> HistoryState:
        state = self._cache.get(history)
        if state is None:
            # Two threads with one new history both compute it: that costs less than letting one wait.
            with watch.stage("history"):
                state = history_state(self._history, history)
            self._cache.put(history, state)
        return state


def _history_piece(work: Work, number: int) -> Piece:
    longest = len(work.requests[number].history)
    return Piece(work=work, stage="history", request=number, rows=np.empty(0, dtype=np.intp), longest=longest)


def history_feeds(history: NDArray[np.int32]) -> Feeds:
    """Inputs of the history graph for a history's token ids."""
    return {"input_ids": history[None].astype(np.int64)}


def history_state(session: Session, history: NDArray[np.int32]) -> HistoryState:
    """Run the history graph on a history's token ids."""
    keys, values = session.run(history_feeds(history))
    return HistoryState(keys, values)


def item_feeds(items: Ragged, indices: NDArray[np.intp], pad_id: int, state: HistoryState, width: int = 0) -> Feeds:
    """Inputs of the items graph for some items, padded to the longest or `width`, against one history."""
    input_ids, attention_mask = pad_items(items, indices, pad_id, width)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "keys": state.keys,
        "values": state.values,
    }
