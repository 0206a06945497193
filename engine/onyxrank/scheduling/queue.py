"""Which micro-batch runs next, and which request finds no room: the policy, without threads.

1. The queue counts tokens, padding included, of every request in it, waiting or running; a request for at most half
   of the limit, so that one huge list does not shut the others out.
2. A request is refused while the queue is full, whatever its size: if small ones were let in where large ones do not
   fit, they would take every place that comes free. So the limit is passed by one request at most.
3. Two requests have a claim on the next micro-batch: the one that came first, and the first of the smallest, sizes
   being told apart by powers of two. They are served in turn, so that each side gets half of the tokens. Hence no
   request takes more than about twice as long as if first come were first served, whatever short ones arrive, and
   none more than about twice as long as if the smallest size were served first, however long those before it are.
4. Where the architecture allows it, a micro-batch with room left takes in those of other requests, if that wastes
   little padding.
5. A request whose deadline has passed leaves before its next micro-batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from onyxrank.request.timings import Stopwatch
from onyxrank.scheduling.work import Piece, Work

_PADDING = 1.1
"""Most that a joint micro-batch may cost, against its parts run alone."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """One call in the queue.

    Attributes:
        work: what it has left.
        deadline: moment of the clock after which its answer is of no use; None for never.
        watch: the caller's, told its seconds at the end.
        spent: seconds of its micro-batches.
        answer: the scores, once all are there.
        tokens: that it had when it came.
        charge: of these, what it counts for in the queue.
        arrived: moment of the clock.
        running: its micro-batches that run now.
        busy_s: seconds in which at least one of them ran.
        busy_since: since when one runs.

    """

    work: Work
    deadline: float | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    spent: Stopwatch = field(default_factory=Stopwatch)
    answer: Future[list[Any]] = field(default_factory=Future)
    tokens: int = 0
    charge: int = 0
    arrived: float = 0.0
    running: int = 0
    busy_s: float = 0.0
    busy_since: float = 0.0

    def tell_times(self, now: float) -> None:
        """Add the stages to the caller's watch: of wall time, where several micro-batches ran at once."""
        total = self.spent.read().total
        self.watch.take(self.spent, min(1.0, self.busy_s / total) if total else 1.0)
        self.watch.add("queue", max(0.0, now - self.arrived - self.busy_s))


class Queue:
    """The jobs that are not done. Not for sharing between threads without a lock.

    Args:
        limit: most tokens in it.
        budget: most tokens of a joint micro-batch, padding included; 0 where none are joined.
        clock: gives seconds.

    """

    def __init__(self, limit: int, budget: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.tokens = 0
        self.clock = clock
        self._budget = budget
        self._jobs: dict[Work, Job] = {}
        self._owed_to_first = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def lacking(self) -> int:
        """Tokens that must leave before a request finds room; 0 if there is room."""
        return max(0, self.tokens - self.limit + 1)

    def admit(self, job: Job) -> None:
        """Take a job in, for which there is room."""
        job.tokens, job.arrived = job.work.left, self.clock()
        job.charge = min(job.tokens, max(1, self.limit // 2))
        self._jobs[job.work] = job
        self.tokens += job.charge

    def remove(self, job: Job) -> bool:
        """Let a job go, done or not; False if it has gone before."""
        if self._jobs.pop(job.work, None) is None:
            return False
        self.tokens -= job.charge
        return True

    def expired(self) -> list[Job]:
        """Remove the jobs whose deadline has passed, and give them back."""
        now = self.clock()
        late = [job for job in self._jobs.values() if job.deadline is not None and now >= job.deadline]
        for job in late:
            self.remove(job)
        return late

    def take(self) -> list[Piece]:
        """Begin the next micro-batch: pieces to run together; none if nothing can begin now."""
        ready = [(job, piece) for job in self._jobs.values() if (piece := job.work.peek()) is not None]
        if not ready:
            return []
        first = ready[0]
        shortest = min(ready, key=lambda candidate: candidate[0].tokens.bit_length())
        lead = first if self._owed_to_first > 0 else shortest
        if first is not shortest:
            self._owed_to_first += lead[1].tokens if lead is shortest else -lead[1].tokens
        together = [lead]
        if self._budget and lead[1].stage == "run":
            self._join(together, [candidate for candidate in ready if candidate is not lead])
        now = self.clock()
        for job, piece in together:
            job.work.begin(piece)
            if not job.running:
                job.busy_since = now
            job.running += 1
        return [piece for _, piece in together]

    def ran(self, piece: Piece) -> Job | None:
        """Say that a piece has run; gives its job, or None if that has left."""
        piece.work.finish(piece)
        job = self._jobs.get(piece.work)
        if job is not None:
            job.running -= 1
            if not job.running:
                job.busy_s += self.clock() - job.busy_since
        return job

    def _join(self, together: list[tuple[Job, Piece]], others: list[tuple[Job, Piece]]) -> None:
        rows, longest, alone = len(together[0][1].rows), together[0][1].longest, together[0][1].tokens
        for job, piece in others:
            joint = (rows + len(piece.rows)) * max(longest, piece.longest)
            if joint <= self._budget and joint <= _PADDING * (alone + piece.tokens):
                together.append((job, piece))
                rows, longest, alone = rows + len(piece.rows), max(longest, piece.longest), alone + piece.tokens
