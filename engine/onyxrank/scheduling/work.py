"""What one call has left to compute: its micro-batches in the order to run them, and the scores so far."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.batching import Rows
from onyxrank.architectures.history_cache import HistoryState
from onyxrank.request.token_ids import EncodedRequest


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Piece:
    """One run of a graph: some rows of a call, or a history that rows wait for.

    Attributes:
        work: the call.
        stage: ``run`` for rows, ``history`` for a history.
        request: number of the request whose history it is or whose items the rows are; 0 where rows are of all.
        rows: intp, row numbers among those of all requests; empty for a history.
        longest: tokens of its longest row.

    """

    work: Work
    stage: Literal["history", "run"]
    request: int
    rows: NDArray[np.intp]
    longest: int

    @property
    def tokens(self) -> int:
        """What it costs: tokens, padding included."""
        return self.longest * max(1, len(self.rows))


class Work:
    """The pieces of one call. Not for sharing between threads without a lock.

    Args:
        requests: what is scored.

    Attributes:
        requests: the same.
        starts: intp [requests + 1], first row of each request among those of all.
        scores: float32 [rows]; filled while pieces run.
        states: of the histories in use, by request (shared-history); one that no rows wait for stays.
        left: tokens of the pieces that have not begun.

    """

    def __init__(self, requests: Sequence[EncodedRequest]) -> None:
        self.requests = requests
        self.starts = np.cumsum([0, *(len(request.items) for request in requests)])
        self.scores: NDArray[np.float32] = np.empty(int(self.starts[-1]), dtype=np.float32)
        self.states: dict[int, HistoryState] = {}
        self.left = 0
        self._waiting: deque[Piece] = deque()
        self._running = 0
        self._unfinished: Counter[int] = Counter()
        self._histories_due: set[int] = set()

    def add(self, pieces: Iterable[Piece]) -> None:
        """Append pieces, in the order to run them; a history before its rows."""
        for piece in pieces:
            self._waiting.append(piece)
            self.left += piece.tokens
            self._unfinished[piece.request] += 1
            if piece.stage == "history":
                self._histories_due.add(piece.request)

    @cached_property
    def rows(self) -> Rows:
        """The rows of all requests, histories and items together; of at least one request."""
        return Rows.of(self.requests)

    def results(self) -> list[NDArray[np.float32]]:
        """Per request, float32 [items]."""
        return np.split(self.scores, self.starts[1:-1]) if self.requests else []

    @property
    def finished(self) -> bool:
        """Whether every score is there."""
        return not self._waiting and not self._running

    def peek(self) -> Piece | None:
        """The next piece that can begin now; None if there is none, or it waits for a history that is running."""
        for piece in self._waiting:
            if piece.stage == "history" or piece.request not in self._histories_due:
                return piece
        return None

    def begin(self, piece: Piece) -> None:
        """Take a piece that `peek` gave."""
        self._waiting.remove(piece)
        self.left -= piece.tokens
        self._running += 1

    def finish(self, piece: Piece) -> None:
        """Say that a piece has run: rows that waited for it can begin, and a history that rows needed is freed."""
        self._running -= 1
        if piece.stage == "history":
            self._histories_due.discard(piece.request)
        self._unfinished[piece.request] -= 1
        if piece.stage == "run" and not self._unfinished[piece.request]:
            self.states.pop(piece.request, None)
