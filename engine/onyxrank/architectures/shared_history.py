"""The architecture ``shared-history``: items read the states of their history, and the history reads no item.

1. One graph reads ``[CLS] history [SEP]`` once per request and gives the keys and values of every layer.
2. Another one reads ``item [SEP]`` with these and gives logits; items of one request share micro-batches.
3. The states of the histories used last are kept for the next request that has one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import DEFAULT_CACHE_BYTES, Architecture, Layout
from onyxrank.architectures.batching import BatchLimits, micro_batches, pad
from onyxrank.architectures.call import NO_ROWS, Call, Step
from onyxrank.architectures.readout import Readout, margins_of
from onyxrank.architectures.state_cache import StateCache
from onyxrank.errors import OnyxrankError
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import Ragged
from onyxrank.request.truncation import Limits
from onyxrank.sessions.arrays import Array, Feeds, on_host
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.session import Session
from onyxrank.sessions.shape_buckets import Sizes, most_rows

HISTORY, ITEMS = "history", "items"
"""Roles of the two graphs."""

KEY_STEP = 16
"""Histories are exported to have keys, those that stand for an item's own tokens included, in multiples of this."""


@dataclass(frozen=True, slots=True, eq=False)
class HistoryState:
    """A history as the items of a request see it, float32; P is its number of tokens.

    The last K - P keys stand for an item's own tokens, and share its weight: the queries carry the log-sum-exp of the
    item's scores in one more channel, so that one softmax over K scores weighs the history against the item. Their
    values are zero. There is at least one: K is the next multiple of `KEY_STEP` above P, in bundles of before P + 1.

    Attributes:
        keys: [layers, heads, head_size + 1, K], transposed, to be multiplied with queries from the left.
        values: [layers, heads, K, head_size].

    """

    keys: Array
    values: Array

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return self.keys.nbytes + self.values.nbytes


class SharedHistory(Architecture):
    """Scores items against the states of their history; see `Architecture` for the arguments."""

    name = "shared-history"
    graphs: ClassVar[Mapping[str, Graph]] = {
        HISTORY: Graph({"input_ids": np.int64}, ("keys", "values"), frozenset({"keys", "values"})),
        ITEMS: Graph(
            {"input_ids": np.int64, "attention_mask": np.int64, "keys": np.float32, "values": np.float32}, ("logits",)
        ),
    }
    default_micro_batch_tokens = 1024  # the tokens of the items only

    def __init__(
        self,
        sessions: Mapping[str, Session],
        head: str,
        limits: BatchLimits,
        pad_id: int = 0,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        readout: Readout | None = None,
    ) -> None:
        super().__init__(sessions, head, limits, pad_id, cache_bytes, readout)
        self.cache: StateCache[HistoryState] = StateCache(cache_bytes)

    def plan(self, call: Call) -> Iterator[Step]:
        """Cut each request into its history and micro-batches of its own items; see `Architecture.plan`."""
        for number, request in enumerate(call.requests):
            if not len(request.items):
                continue
            history = self._history(call, number)
            if history.state is None:
                yield history
            needs = frozenset() if history.state is not None else frozenset({history.key})
            lengths = request.items.lengths
            groups = micro_batches(lengths, self.limits.micro_batch_tokens, self.limits.at_once)
            for place, rows in enumerate(groups):
                yield ItemsStep(
                    call=call,
                    key=(ITEMS, number, place),
                    needs=needs,
                    rows=rows + call.starts[number],
                    width=int(lengths[rows[0]]),
                    shared=self,
                    history=history,
                )

    def prepare(self, call: Call) -> HistoryStep:
        """The step that computes the keys and values of a history; see `Architecture.prepare`."""
        return self._history(call, 0)

    @classmethod
    def layout(cls, role: str, threads: int, at_once: int) -> Layout:
        """All rows wait for their history: its one session has the threads that theirs have together."""
        return Layout(threads * at_once, 1) if role == HISTORY else Layout(threads, at_once)

    @classmethod
    def largest(cls, role: str, limits: Limits, micro_batch_tokens: int) -> Sizes:
        """See `Architecture.largest`."""
        history = limits.history_tokens + 2
        if role == HISTORY:
            return Sizes(1, history)
        keys = (history // KEY_STEP + 1) * KEY_STEP
        return Sizes(most_rows(micro_batch_tokens), limits.item_tokens + 1, keys)

    def facts(self) -> dict[str, object]:
        """The history cache's entries, bytes, hits and misses."""
        return {"history_cache": self.cache.facts()}

    def close(self) -> None:
        """Close both sessions, and let go of the histories."""
        super().close()
        self.cache.clear()

    def _history(self, call: Call, number: int) -> HistoryStep:
        request = call.requests[number]
        return HistoryStep(
            call=call,
            key=(HISTORY, number),
            rows=NO_ROWS,
            width=len(request.history),
            shared=self,
            ids=request.history,
            state=request.state,
        )


@dataclass(slots=True, eq=False, kw_only=True)
class HistoryStep(Step):
    """The history of a request.

    Attributes:
        shared: the architecture.
        ids: token ids of the history, int32.

    """

    shared: SharedHistory
    ids: NDArray[np.int32]

    def run(self, together: Sequence[Step], watch: Stopwatch) -> list[OnyxrankError | None]:
        """Find the state in the cache or compute it; see `Step.run`."""
        state = self.shared.cache.get(self.ids)
        if state is None:
            # Two threads with one new history both compute it: that costs less than letting one wait.
            with watch.stage("history"):
                state = history_state(self.shared.sessions[HISTORY], self.ids)
            self.shared.cache.put(self.ids, state)
        self.state = state
        return [None]


@dataclass(slots=True, eq=False, kw_only=True)
class ItemsStep(Step):
    """Items of one request.

    Attributes:
        shared: the architecture.
        history: the step whose state they read.

    """

    shared: SharedHistory
    history: HistoryStep

    def run(self, together: Sequence[Step], watch: Stopwatch) -> list[OnyxrankError | None]:
        """Score the items against the state of their history; see `Step.run`."""
        state = cast(HistoryState, self.history.state)  # `needs` has seen to it
        with watch.stage("batch"):
            feeds = item_feeds(self.call.items, self.rows, self.shared.pad_id, state)
        with watch.stage("run"):
            [logits] = self.shared.sessions[ITEMS].run(feeds)
        return [self.call.keep(self.rows, margins_of(on_host(logits), self.shared.head, len(self.rows)))]


def history_feeds(history: NDArray[np.int32]) -> Feeds:
    """Inputs of the history graph for a history's token ids."""
    return {"input_ids": history[None].astype(np.int64)}


def history_state(session: Session, history: NDArray[np.int32]) -> HistoryState:
    """Run the history graph on a history's token ids."""
    keys, values = session.run(history_feeds(history))
    return HistoryState(keys, values)


def item_feeds(items: Ragged, rows: NDArray[np.intp], pad_id: int, state: HistoryState, width: int = 0) -> Feeds:
    """Inputs of the items graph for some items, padded to the longest or `width`, against one history."""
    input_ids, attention_mask = pad(items, rows, pad_id, width)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "keys": state.keys,
        "values": state.values,
    }
