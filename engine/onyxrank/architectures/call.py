"""One call of the ranker while it is computed: its requests lined up, the steps it has left, the margins so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import NonFiniteScore, OnyxrankError
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest, Ragged

NO_ROWS: NDArray[np.intp] = np.empty(0, dtype=np.intp)
"""The rows of a step that scores no item."""


@dataclass(slots=True, eq=False, kw_only=True)
class Step(ABC):
    """One run of a graph for one call. What it computes is its architecture's affair.

    Attributes:
        call: the call that it belongs to.
        key: what the steps of the same call that need it call it.
        needs: keys of the steps of the same call that must have run before this one may begin.
        rows: numbers of the rows that it scores, among those of all requests of the call; none if it scores no item.
        width: number of tokens of its longest row.
        joint_tokens: most tokens of a run that it may share with steps of other calls; 0 if it runs alone.
        state: what it has computed for the steps that need it; None before it has run, or where it scores items.

    """

    call: Call
    key: Hashable
    needs: frozenset[Hashable] = frozenset()
    rows: NDArray[np.intp]
    width: int
    joint_tokens: int = 0
    state: object | None = None

    @property
    def cost(self) -> int:
        """Tokens of the run, padding included."""
        return self.width * max(1, len(self.rows))

    def cost_with(self, others: Sequence[Step]) -> int:
        """Tokens of one run of this step and others together, padding included."""
        every = [self, *others]
        return max(step.width for step in every) * sum(max(1, len(step.rows)) for step in every)

    @abstractmethod
    def run(self, together: Sequence[Step], watch: Stopwatch) -> Sequence[OnyxrankError | None]:
        """Run this step, and those of other calls that joined it, and write the margins into their calls.

        Args:
            together: the steps to run, this one first. The others are of the same architecture and within
                `joint_tokens`.
            watch: where to add the time of the stages ``history``, ``batch`` and ``run``.

        Returns:
            For each step what is wrong with its answer, or None. A step with a fault has left no margins.

        Raises:
            OnyxrankError: if nothing could be run.

        """


class Call:
    """The requests of one call and their rows, one row for each item. Not for sharing between threads without a lock.

    Args:
        requests: what is scored.

    Attributes:
        requests: the same.
        starts: intp [requests + 1], the first row of each request among those of all.
        margins: float32 [rows], filled while steps run.
        left: cost of the steps that have not begun, in tokens.

    """

    def __init__(self, requests: Sequence[EncodedRequest]) -> None:
        self.requests = requests
        self.starts = np.cumsum([0, *(len(request.items) for request in requests)])
        self.margins: NDArray[np.float32] = np.empty(int(self.starts[-1]), dtype=np.float32)
        self.left = 0
        self._waiting: deque[Step] = deque()
        self._running = 0
        self._done: set[Hashable] = set()

    @cached_property
    def histories(self) -> Ragged:
        """Token ids of the requests' histories."""
        return Ragged.of([request.history for request in self.requests])

    @cached_property
    def items(self) -> Ragged:
        """Token ids of the items of all requests, a sequence for each row."""
        return Ragged.joined([request.items for request in self.requests])

    @cached_property
    def request_of(self) -> NDArray[np.intp]:
        """The request that each row belongs to: intp [rows]."""
        return np.repeat(np.arange(len(self.requests)), np.diff(self.starts))

    @cached_property
    def pair_lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each row together with its history: int64 [rows]."""
        return self.histories.lengths[self.request_of] + self.items.lengths

    def add(self, steps: Iterable[Step]) -> None:
        """Append steps, in the order in which to run them; a step comes after those that it needs."""
        for step in steps:
            self._waiting.append(step)
            self.left += step.cost

    @property
    def finished(self) -> bool:
        """Whether every margin is there."""
        return not self._waiting and not self._running

    def peek(self) -> Step | None:
        """The next step that can begin now; None if there is none, or if all wait for one that is running."""
        for step in self._waiting:
            if step.needs <= self._done:
                return step
        return None

    def begin(self, step: Step) -> None:
        """Take a step that `peek` gave."""
        self._waiting.remove(step)
        self.left -= step.cost
        self._running += 1

    def finish(self, step: Step) -> None:
        """Say that a step has run, so that those which need it may begin."""
        self._running -= 1
        self._done.add(step.key)

    def keep(self, rows: NDArray[np.intp], margins: NDArray[np.float32]) -> NonFiniteScore | None:
        """Write the margins of some rows; if one of them is not finite, write none and say which item it is."""
        broken = rows[~np.isfinite(margins)]
        if len(broken):
            return self._not_finite(int(broken.min()))
        self.margins[rows] = margins
        return None

    def results(self) -> list[NDArray[np.float32]]:
        """The margins of each request, float32 [items] in input order."""
        return np.split(self.margins, self.starts[1:-1]) if self.requests else []

    def _not_finite(self, row: int) -> NonFiniteScore:
        request = int(np.searchsorted(self.starts, row, side="right")) - 1
        index = row - int(self.starts[request])
        place = f"items[{index}]" if len(self.requests) == 1 else f"items[{index}] of requests[{request}]"
        return NonFiniteScore(
            f"the model answered NaN or infinity for {place}; check the bundle with `onyxrank inspect`", index=index
        )
