"""Which step runs next, and which call finds no room: the policy, without threads.

Costs are tokens, padding included. A job is a call of the ranker; its steps are micro-batches, and what these need.

1. The queue counts the cost of every job in it, waiting or running. A job counts for at most half of the limit, so
   that one huge list does not shut the others out.
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
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.call import Call, Step
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest

_PADDING = 1.1
"""Most that a joint micro-batch may cost, against its parts run alone."""


class Job(Call):
    """A call in the queue.

    Args:
        requests: what is scored.
        deadline: moment of the clock after which its answer is of no use; None for never.
        watch: the caller's stopwatch, to which the seconds of the call are added at the end.

    Attributes:
        deadline: the same.
        watch: the same.
        spent: seconds of its steps so far.
        answer: will hold the margins of each request.
        charge: tokens for which it counts in the queue while it is there.
        size: cost of all its steps when it came, in tokens.
        arrived: moment of the clock at which it came.
        running: number of its steps that run now.
        busy_s: seconds in which at least one of them ran.
        busy_since: moment of the clock since which one runs.

    """

    def __init__(
        self, requests: Sequence[EncodedRequest], deadline: float | None = None, watch: Stopwatch | None = None
    ) -> None:
        super().__init__(requests)
        self.deadline = deadline
        self.watch = watch or Stopwatch()
        self.spent = Stopwatch()
        self.answer: Future[list[NDArray[np.float32]]] = Future()
        self.charge = self.size = self.running = 0
        self.arrived = self.busy_s = self.busy_since = 0.0

    def tell_times(self, now: float) -> None:
        """Add the stages to the caller's stopwatch, as shares of wall time where several steps ran at once."""
        total = self.spent.read().total
        self.watch.take(self.spent, min(1.0, self.busy_s / total) if total else 1.0)
        self.watch.add("queue", max(0.0, now - self.arrived - self.busy_s))


class Queue:
    """The jobs that are not done. Not for sharing between threads without a lock.

    Args:
        limit: number of tokens from which on it is full.
        clock: gives seconds.

    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.tokens = 0
        self.clock = clock
        self._jobs: dict[Call, Job] = {}
        self._owed_to_first = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def lacking(self) -> int:
        """Tokens that must leave before a request finds room; 0 if there is room."""
        return max(0, self.tokens - self.limit + 1)

    def admit(self, job: Job) -> None:
        """Take a job in, for which there is room."""
        job.size, job.arrived = job.left, self.clock()
        job.charge = min(job.size, max(1, self.limit // 2))
        self._jobs[job] = job
        self.tokens += job.charge

    def remove(self, job: Job) -> bool:
        """Let a job go, done or not; False if it has gone before."""
        if self._jobs.pop(job, None) is None:
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

    def take(self) -> list[Step]:
        """Begin what runs next: steps to run together; none if nothing can begin now."""
        ready = [(job, step) for job in self._jobs.values() if (step := job.peek()) is not None]
        if not ready:
            return []
        first = ready[0]
        shortest = min(ready, key=lambda candidate: candidate[0].size.bit_length())
        lead = first if self._owed_to_first > 0 else shortest
        if first is not shortest:
            self._owed_to_first += lead[1].cost if lead is shortest else -lead[1].cost
        now = self.clock()
        together = [lead, *_joining(lead[1], [candidate for candidate in ready if candidate is not lead])]
        for job, step in together:
            job.begin(step)
            if not job.running:
                job.busy_since = now
            job.running += 1
        return [step for _, step in together]

    def ran(self, step: Step) -> Job | None:
        """Say that a step has run; gives its job, or None if that has left."""
        step.call.finish(step)
        job = self._jobs.get(step.call)
        if job is not None:
            job.running -= 1
            if not job.running:
                job.busy_s += self.clock() - job.busy_since
        return job


def _joining(lead: Step, others: list[tuple[Job, Step]]) -> list[tuple[Job, Step]]:
    """Of the steps that could begin now, those for which the run of the first one has room without much padding."""
    joining: list[tuple[Job, Step]] = []
    alone = lead.cost
    for job, step in others:
        joint = lead.cost_with([*(joined for _, joined in joining), step])
        if joint <= min(lead.joint_tokens, step.joint_tokens) and joint <= _PADDING * (alone + step.cost):
            joining.append((job, step))
            alone += step.cost
    return joining
