"""One call of the ranker while it is computed, and the steps that compute it.

A call lines up its requests, and holds the steps that are left and the margins so far. The architecture decides which
steps there are and what each of them computes.
"""

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
    """One run of a graph for one call.

    Attributes:
        call: the call that the step belongs to.
        key: name of the step, unique in its call; other steps of the call name it in their `needs`.
        needs: keys of the steps of the same call that must have run before this one may begin.
        rows: numbers of the rows that the step scores, counted over all requests of the call; empty if it scores no
            item.
        width: number of tokens of the longest row, or of the history if the step scores no item.
        joint_tokens: most tokens of a run that the step may share with steps of other calls; 0 if it runs alone.
        state: what the step has computed for the steps that need it. It is None before the step has run, and in steps
            that score items.

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
        """Number of tokens of the run, padding included."""
        return self.width * max(1, len(self.rows))

    def cost_with(self, others: Sequence[Step]) -> int:
        """Return the number of tokens of one run of this step together with others, padding included."""
        every = [self, *others]
        return max(step.width for step in every) * sum(max(1, len(step.rows)) for step in every)

    @abstractmethod
    def run(self, together: Sequence[Step], watch: Stopwatch) -> Sequence[OnyxrankError | None]:
        """Run this step together with steps of other calls that joined it, and write the margins into the calls.

        Args:
            together: the steps to run, this one first. The others are of the same architecture, and all together cost
                no more than the `joint_tokens` of each.
            watch: stopwatch to add the time of the stages ``history``, ``batch`` and ``run`` to.

        Returns:
            For each step an error that says what is wrong with its answer, or None. A step with an error has written
            no margins.

        Raises:
            OnyxrankError: if the run failed as a whole.

        """


class Call:
    """The requests of one call, one row for each of their items. Not for sharing between threads without a lock.

    Args:
        requests: the requests to score.

    Attributes:
        requests: the same.
        starts: for each request the number of its first row, and at the end the number of all rows: intp
            [requests + 1].
        margins: margins of all rows, float32 [rows]. They are written while steps run, and are NaN
            before.
        left: cost of the steps that have not begun, in tokens.

    """

    def __init__(self, requests: Sequence[EncodedRequest]) -> None:
        self.requests = requests
        self.starts = np.cumsum([0, *(len(request.items) for request in requests)])
        self.margins: NDArray[np.float32] = np.full(int(self.starts[-1]), np.nan, dtype=np.float32)
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
        """Index of the request that each row belongs to: intp [rows]."""
        return np.repeat(np.arange(len(self.requests)), np.diff(self.starts))

    @cached_property
    def pair_lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each row together with its history: int64 [rows]."""
        return self.histories.lengths[self.request_of] + self.items.lengths

    def add(self, steps: Iterable[Step]) -> None:
        """Append steps in the order in which they are to run; a step comes after those that it needs."""
        for step in steps:
            self._waiting.append(step)
            self.left += step.cost

    @property
    def finished(self) -> bool:
        """Whether all steps have run, so that every margin has been written."""
        return not self._waiting and not self._running

    def peek(self) -> Step | None:
        """Return the next step that can begin now, or None if each one left waits for one that is running."""
        for step in self._waiting:
            if step.needs <= self._done:
                return step
        return None

    def begin(self, step: Step) -> None:
        """Note that a step, which `peek` gave, begins to run."""
        self._waiting.remove(step)
        self.left -= step.cost
        self._running += 1

    def finish(self, step: Step) -> None:
        """Note that a step has run, so that the steps which need it may begin."""
        self._running -= 1
        self._done.add(step.key)

    def keep(self, rows: NDArray[np.intp], margins: NDArray[np.float32]) -> NonFiniteScore | None:
        """Write the margins of some rows.

        Returns:
            None, or an error that names the first item whose margin is not finite; then no margin is written.

        """
        broken = rows[~np.isfinite(margins)]
        if len(broken):
            return self._not_finite(int(broken.min()))
        self.margins[rows] = margins
        return None

    def missing(self) -> NonFiniteScore | None:
        """Return an error that names the first item that has no margin, or None if all have one."""
        unwritten = np.flatnonzero(np.isnan(self.margins))
        if not len(unwritten):
            return None
        index, place = self._place(int(unwritten[0]))
        return NonFiniteScore(f"no step has scored {place}; this is a fault of the architecture", index=index)

    def results(self) -> list[NDArray[np.float32]]:
        """Return for each request the margins of its items in input order, float32 [items]."""
        return np.split(self.margins, self.starts[1:-1]) if self.requests else []

    def _not_finite(self, row: int) -> NonFiniteScore:
        index, place = self._place(row)
        return NonFiniteScore(
            f"the model answered NaN or infinity for {place}; check the bundle with `onyxrank inspect`", index=index
        )

    def _place(self, row: int) -> tuple[int, str]:
        """Return the index of a row's item in its request, and its name in messages."""
        request = int(np.searchsorted(self.starts, row, side="right")) - 1
        index = row - int(self.starts[request])
        place = f"items[{index}]" if len(self.requests) == 1 else f"items[{index}] of requests[{request}]"
        return index, place
