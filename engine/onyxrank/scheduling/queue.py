"""The policy of the queue: it decides which step runs next and which call finds no room, without threads.

Costs are tokens, padding included. A job is a call of the ranker in the queue. Its steps are micro-batches, and the
steps that these need.

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

_MOST_PADDING = 1.1
"""How many times the cost of its parts a joint micro-batch may have, since its rows are padded to the longest."""


class Job(Call):
    """A call in the queue.

    Args:
        requests: the requests to score.
        deadline: moment of the clock after which its answer is of no use; None for never.
        watch: the caller's stopwatch, to which the seconds of the call are added at the end.

    Attributes:
        deadline: the same.
        watch: the same.
        spent: seconds of each stage of the job's steps so far.
        answer: future that will hold the margins of each request.
        charge: number of tokens that the job counts for in the queue while it is there.
        size: cost of all steps when the job came into the queue, in tokens.
        arrived: moment of the clock at which the job came into the queue.
        running: number of steps of the job that run now.
        busy_s: seconds in which at least one step ran, up to the last moment at which none ran.
        busy_since: moment of the clock since which at least one step has been running, if any runs now.

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
        """Add the seconds of each stage, and of waiting in the queue, to the caller's stopwatch.

        Where several steps ran at once, their seconds are scaled so that they add up to the wall time.
        """
        total = self.spent.read().total
        self.watch.take(self.spent, min(1.0, self.busy_s / total) if total else 1.0)
        self.watch.add("queue", max(0.0, now - self.arrived - self.busy_s))


class Queue:
    """The jobs that are not done. Not for sharing between threads without a lock.

    Args:
        limit: number of tokens from which on the queue is full.
        clock: function that returns the present moment in seconds.

    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.tokens = 0
        self.clock = clock
        self._jobs: dict[Call, Job] = {}
        self._owed_to_first = 0  # tokens by which the shortest job has been served more than the first one

    def __len__(self) -> int:
        return len(self._jobs)

    def lacking(self) -> int:
        """Return the number of tokens that must leave before a request finds room; 0 if there is room now."""
        return max(0, self.tokens - self.limit + 1)

    def reserve(self, size: int) -> int:
        """Hold room for a request that is still being read, and return what it is charged for that, for `release`."""
        charge = min(size, max(1, self.limit // 2))
        self.tokens += charge
        return charge

    def release(self, charge: int) -> None:
        """Give back the room of a request that has been read."""
        self.tokens -= charge

    def admit(self, job: Job) -> None:
        """Take in a job; the caller has checked that there is room for it."""
        job.size, job.arrived = job.left, self.clock()
        job.charge = min(job.size, max(1, self.limit // 2))
        self._jobs[job] = job
        self.tokens += job.charge

    def remove(self, job: Job) -> bool:
        """Let a job leave, whether it is done or not; return False if it had left before."""
        if self._jobs.pop(job, None) is None:
            return False
        self.tokens -= job.charge
        return True

    def expired(self) -> list[Job]:
        """Remove the jobs whose deadline has passed, and return them."""
        now = self.clock()
        late = [job for job in self._jobs.values() if job.deadline is not None and now >= job.deadline]
        for job in late:
            self.remove(job)
        return late

    def take(self) -> list[Step]:
        """Begin the steps that are to run next, and return them; they run together, as one micro-batch.

        The list is empty if no step can begin now.
        """
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
        """Note that a step has run, and return its job, or None if the job has left the queue."""
        step.call.finish(step)
        job = self._jobs.get(step.call)
        if job is not None:
            job.running -= 1
            if not job.running:
                job.busy_s += self.clock() - job.busy_since
        return job


def _joining(lead: Step, others: list[tuple[Job, Step]]) -> list[tuple[Job, Step]]:
    """Choose the steps that join a micro-batch: those for which it has room and that cost little padding.

    Args:
        lead: the step that is to run next.
        others: the next step of every other job that could begin one now, with the job.

    """
    joining: list[tuple[Job, Step]] = []
    alone = lead.cost
    for job, step in others:
        joint = lead.cost_with([*(joined for _, joined in joining), step])
        if joint <= min(lead.joint_tokens, step.joint_tokens) and joint <= _MOST_PADDING * (alone + step.cost):
            joining.append((job, step))
            alone += step.cost
    return joining
