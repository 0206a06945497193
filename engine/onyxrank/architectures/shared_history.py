"""The architecture ``shared-history``: items attend to their history, and the history attends to no item.

1. One graph reads ``[CLS] history [SEP]`` once for each request and answers the keys and values of every layer. They
   are the state of the history.
2. Another graph reads ``item [SEP]`` together with that state and answers logits. Only items of one request share a
   micro-batch.
3. The states of the histories that were used last are kept for later requests with the same history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture, Layout
from onyxrank.architectures.batching import micro_batches, pad
from onyxrank.architectures.call import NO_ROWS, Call, Step
from onyxrank.architectures.readout import margins_of
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
"""The number of keys in a state, those that stand for an item's own tokens included, is a multiple of this.

The exporter builds the history graph so.
"""


@dataclass(frozen=True, slots=True, eq=False)
class HistoryState:
    """The keys and values of a history, float32, to which the items of a request attend.

    A history of P tokens has K keys. The last K - P of them stand for an item's own tokens: queries carry the
    log-sum-exp of the item's own scores in one more channel, and these keys divide its weight among themselves. So
    one softmax over K scores weighs the history against the item. The values of these keys are zero. There is at
    least one of them: K is the next multiple of `KEY_STEP` above P, or P + 1 in bundles of an older exporter.

    Attributes:
        keys: the keys, transposed so that queries are multiplied with them from the left: [layers, heads,
            head_size + 1, K].
        values: the values, [layers, heads, K, head_size].

    """

    keys: Array
    values: Array

    @property
    def nbytes(self) -> int:
        """Number of bytes of both arrays."""
        return self.keys.nbytes + self.values.nbytes


class SharedHistory(Architecture):
    """Scores items against the state of their history; see `Architecture` for the arguments."""

    name = "shared-history"
    graphs: ClassVar[Mapping[str, Graph]] = {
        HISTORY: Graph({"input_ids": np.int64}, ("keys", "values"), frozenset({"keys", "values"})),
        ITEMS: Graph(
            {"input_ids": np.int64, "attention_mask": np.int64, "keys": np.float32, "values": np.float32}, ("logits",)
        ),
    }
    default_micro_batch_tokens = 1024  # less than with cross, since only the tokens of items count
    states: StateCache[HistoryState]

    def plan(self, call: Call) -> Iterator[Step]:
        """Make for each request a step for its history, unless it is known, and steps of its items.

        See `Architecture.plan`.
        """
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
        """Make the step that computes the keys and values of a history; see `Architecture.prepare`."""
        return self._history(call, 0)

    @classmethod
    def layout(cls, role: str, threads: int, at_once: int) -> Layout:
        """Give the history graph one session with the threads of all sessions of the items graph together.

        The items cannot begin before the state of their history is there, so these threads would have nothing to do.
        """
        return Layout(threads * at_once, 1) if role == HISTORY else Layout(threads, at_once)

    @classmethod
    def largest(cls, role: str, limits: Limits, micro_batch_tokens: int) -> Sizes:
        """See `Architecture.largest`."""
        history = limits.history_tokens + 2  # [CLS] and [SEP]
        if role == HISTORY:
            return Sizes(1, history)
        keys = (history // KEY_STEP + 1) * KEY_STEP
        return Sizes(most_rows(micro_batch_tokens), limits.item_tokens + 1, keys)

    def facts(self) -> dict[str, object]:
        """Report entries, bytes, hits and misses of the cache of histories' states."""
        return {"history_cache": self.states.facts()}

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
    """Computes the state of a request's history, which its `ItemsStep`s need.

    Attributes:
        shared: the architecture that made the step.
        ids: token ids of the history, int32.

    """

    shared: SharedHistory
    ids: NDArray[np.int32]

    def run(self, together: Sequence[Step], watch: Stopwatch) -> list[OnyxrankError | None]:
        """Find the state in the cache or compute it; see `Step.run`."""
        state = self.shared.states.get(self.ids)
        if state is None:
            # Two threads that meet the same new history at once both compute it, which is rare. A lock that lets one
            # of them wait would cost more.
            with watch.stage("history"):
                state = history_state(self.shared.sessions[HISTORY], self.ids)
            self.shared.states.put(self.ids, state)
        self.state = state
        return [None]


@dataclass(slots=True, eq=False, kw_only=True)
class ItemsStep(Step):
    """Scores one micro-batch of items of one request.

    Attributes:
        shared: the architecture that made the step.
        history: the step of the request's history, whose state the items read.

    """

    shared: SharedHistory
    history: HistoryStep

    def run(self, together: Sequence[Step], watch: Stopwatch) -> list[OnyxrankError | None]:
        """Score the items against the state of their history; see `Step.run`."""
        state = cast(HistoryState, self.history.state)  # it has run by now, since `needs` names it
        with watch.stage("batch"):
            feeds = item_feeds(self.call.items, self.rows, self.shared.pad_id, state)
        with watch.stage("run"):
            [logits] = self.shared.sessions[ITEMS].run(feeds)
        return [self.call.keep(self.rows, margins_of(on_host(logits), self.shared.head, len(self.rows)))]


def history_feeds(history: NDArray[np.int32]) -> Feeds:
    """Build the inputs of the history graph for a history's token ids."""
    return {"input_ids": history[None].astype(np.int64)}


def history_state(session: Session, history: NDArray[np.int32]) -> HistoryState:
    """Run the history graph on a history's token ids and return the state."""
    keys, values = session.run(history_feeds(history))
    return HistoryState(keys, values)


def item_feeds(items: Ragged, rows: NDArray[np.intp], pad_id: int, state: HistoryState, width: int = 0) -> Feeds:
    """Build the inputs of the items graph for some items and the state of their history.

    Args:
        items: token ids of many items.
        rows: indices of the items to take, in the order in which they become rows.
        pad_id: token id to pad with.
        state: state of the history.
        width: smallest number of columns; there are more if an item is longer.

    """
    input_ids, attention_mask = pad(items, rows, pad_id, width)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "keys": state.keys,
        "values": state.values,
    }
