"""Architectures: how encoded requests become probabilities.

`Cross` sends every row, history and item together, through one graph. `SharedHistory` computes a history once, with
a graph of its own, and scores the items of the request against it. Both say what there is to run and run it piece by
piece; in which order, beside the pieces of other calls, is for the scheduler.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onyxrank._batching import BatchLimits, MicroBatch, pad, pad_items, plan
from onyxrank._encoding import EncodedRequest, Ragged
from onyxrank._errors import BundleError, NonFiniteScore, OnyxrankError
from onyxrank._graphs import CROSS, SHARED_HISTORY, Feeds
from onyxrank._history import HistoryCache, HistoryState
from onyxrank._session import Session
from onyxrank._timing import Stopwatch
from onyxrank._truncation import Cuts
from onyxrank._work import Piece, Work


class Architecture(ABC):
    """Scores encoded requests. Safe to share between threads.

    Attributes:
        joint_tokens: most tokens of a micro-batch that pieces of several calls share; 0 if they cannot.

    """

    joint_tokens = 0

    @abstractmethod
    def plan(self, requests: Sequence[EncodedRequest]) -> Work:
        """Cut the requests of a call into pieces."""

    @abstractmethod
    def run(self, pieces: Sequence[Piece], watch: Stopwatch) -> Sequence[OnyxrankError | None]:
        """Run pieces together and write the scores into their work.

        Args:
            pieces: one, or of several calls within `joint_tokens`.
            watch: where to add the time of the stages ``history``, ``batch`` and ``run``.

        Returns:
            What is wrong with the answer to each piece; such pieces have no scores.

        Raises:
            OnyxrankError: if nothing could be run.

        """

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request now, on the caller's thread.

        Args:
            requests: the requests; with cross, micro-batches may hold rows of several.
            watch: where to add the time of the stages ``history``, ``batch`` and ``run``.

        Returns:
            Per request, float32 probabilities in [0, 1] in input order.

        Raises:
            NonFiniteScore: if the model answers NaN or infinity; names the item.

        """
        watch = watch or Stopwatch()
        with watch.stage("batch"):
            work = self.plan(requests)
        while (piece := work.peek()) is not None:
            work.begin(piece)
            [fault] = self.run([piece], watch)
            if fault is not None:
                raise fault
            work.finish(piece)
        return work.results()

    def plan_history(self, history: NDArray[np.int32]) -> Work | None:
        """What computes a history's state from its token ids, for ``states[0]``; None where there is none."""
        return None

    def facts(self) -> dict[str, object]:
        """What changes while it serves, as JSON values."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Close the sessions."""


class Cross(Architecture):
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
        self.joint_tokens = limits.micro_batch_tokens

    def plan(self, requests: Sequence[EncodedRequest]) -> Work:
        """Cut the rows of all requests into micro-batches; see `Architecture.plan`."""
        work = Work(requests)
        if requests:
            lengths = work.rows.lengths
            work.add(
                Piece(work=work, stage="run", request=0, rows=group, longest=int(lengths[group[0]]))
                for group in plan(lengths, self._limits.micro_batch_tokens, self._limits.at_once)
            )
        return work

    def run(self, pieces: Sequence[Piece], watch: Stopwatch) -> Sequence[OnyxrankError | None]:
        """Run pieces in one micro-batch; see `Architecture.run`."""
        with watch.stage("batch"):
            longest = max(piece.longest for piece in pieces)
            batches = [pad(piece.work.rows, piece.rows, self._pad_id, longest) for piece in pieces]
            feeds = pair_feeds(MicroBatch.stack(batches))
        with watch.stage("run"):
            [logits] = self._session.run(feeds)
        return _keep(pieces, logits, self._head)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


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


def item_feeds(items: Ragged, indices: NDArray[np.intp], pad_id: int, state: HistoryState, width: int = 0) -> Feeds:
    """Inputs of the items graph for some items, padded to the longest or `width`, against one history."""
    input_ids, attention_mask = pad_items(items, indices, pad_id, width)
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
) -> Architecture:
    """Put sessions, by role, together as an architecture says.

    Args:
        name: of the architecture, as in a manifest.
        head: as of `Cross`.
        sessions: by the roles of `ARCHITECTURES`.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.
        cache: of histories; the default size if None. `Cross` has no use for it.

    Raises:
        BundleError: if there is no such architecture.

    """
    if name == CROSS:
        return Cross(sessions["model"], head, limits, pad_id)
    if name == SHARED_HISTORY:
        return SharedHistory(sessions["history"], sessions["items"], head, limits, pad_id, cache)
    raise BundleError(f"the architecture {name!r} has no implementation in this onyxrank")


def probabilities(logits: NDArray[np.float32], head: str) -> NDArray[np.float32]:
    """Turn finite logits [rows, 2] (``softmax``) or [rows, 1] (``sigmoid``) into probabilities [rows]."""
    # In double precision, cast once at the end: a half-precision sigmoid makes ties of different logits.
    wide = logits.astype(np.float64)
    margin = wide[:, 1] - wide[:, 0] if head == "softmax" else wide[:, 0]
    decay = np.exp(-np.abs(margin))
    return (np.where(margin >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)


def _keep(pieces: Sequence[Piece], logits: NDArray[np.float32], head: str) -> list[OnyxrankError | None]:
    """Write the probabilities of a micro-batch into the work of its pieces, and say what is wrong with which."""
    ends = np.cumsum([len(piece.rows) for piece in pieces])
    expected = (int(ends[-1]), 2 if head == "softmax" else 1)
    if logits.shape != expected:
        raise BundleError(
            f"the graph answers logits of shape {list(logits.shape)} where the head {head!r} needs "
            f"{list(expected)}; export the bundle again"
        )
    faults: list[OnyxrankError | None] = []
    for piece, own in zip(pieces, np.split(logits, ends[:-1]), strict=True):
        broken = piece.rows[~np.isfinite(own).all(axis=1)]
        faults.append(_not_finite(piece.work, int(broken.min())) if len(broken) else None)
        if not len(broken):
            piece.work.scores[piece.rows] = probabilities(own, head)
    return faults


def _not_finite(work: Work, row: int) -> NonFiniteScore:
    request = int(np.searchsorted(work.starts, row, side="right")) - 1
    index = row - int(work.starts[request])
    place = f"items[{index}]" if len(work.requests) == 1 else f"items[{index}] of requests[{request}]"
    return NonFiniteScore(
        f"the model answered NaN or infinity for {place}; check the bundle with `onyxrank inspect`", index=index
    )
