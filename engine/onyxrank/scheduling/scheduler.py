"""Runs the calls of many threads on few: one thread for each run that may be going on at once.

The policy is in `queue`. Here are the lock around it, the threads, and how an answer, a deadline or a cancellation
reaches the caller.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.call import Step
from onyxrank.errors import OnyxrankError, Overloaded
from onyxrank.machine.c_library import flush_denormals
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest, Ragged
from onyxrank.scheduling.counts import Counts, Speed
from onyxrank.scheduling.queue import Job, Queue
from onyxrank.scheduling.waiting import Margins, answer, late, wait

DEFAULT_QUEUE_TOKENS = 262_144
"""Of the queue: with MiniLM-L6 in int8 some 20 seconds of work on two cores (benchmarks/results/load.json)."""


class Scheduler:
    """One architecture, used by any number of threads. Its own threads start with the first call.

    Args:
        architecture: what scores; closed with the scheduler.
        workers: most micro-batches at once.
        queue_tokens: most tokens in the queue.
        clock: gives seconds; deadlines are moments of it.

    """

    def __init__(
        self,
        architecture: Architecture,
        workers: int = 1,
        queue_tokens: int = DEFAULT_QUEUE_TOKENS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.architecture = architecture
        self.clock = clock
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self._queue = Queue(queue_tokens, clock)
        self._changed = threading.Condition()
        self._closing = False
        self._counts = Counts()
        self._lately = Speed()

    def check_room(self) -> None:
        """Refuse early, before a request is tokenized, what `submit` would refuse.

        Raises:
            Overloaded: if the queue is full.

        """
        with self._changed:
            self._refuse(self._queue.lacking())

    def submit(
        self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None, deadline: float | None = None
    ) -> Job:
        """Put a call into the queue.

        Args:
            requests: to be scored.
            watch: where to add its seconds.
            deadline: moment of the clock by which its answer is of use.

        Returns:
            The job, whose `answer` will hold the margins of each request. Whoever cancels the answer calls `drop`
            too.

        Raises:
            Overloaded: if the queue has no room for it.
            DeadlineExceeded: if the deadline has passed already.
            OnyxrankError: if the scheduler is closed, or the system lets it have no thread.

        """
        job = Job(requests, deadline, watch)
        job.add(self.architecture.plan(job))
        return self._put(job)

    def prepare(
        self, history: EncodedHistory, watch: Stopwatch | None = None, deadline: float | None = None
    ) -> object | None:
        """Compute what the architecture can know of a history before the items come; None where that is nothing.

        Args:
            history: its token ids.
            watch: as of `submit`.
            deadline: as of `submit`.

        Returns:
            What `EncodedHistory.state` takes.

        Raises:
            OnyxrankError: as `submit` and `wait`.

        """
        job = Job([EncodedRequest(history.ids, Ragged.of([]), history.cuts)], deadline, watch)
        step = self.architecture.prepare(job)
        if step is None:
            return None
        job.add([step])
        self.wait(self._put(job))
        return step.state

    def wait(self, job: Job) -> Margins:
        """The answer of a job, on the caller's thread.

        Raises:
            DeadlineExceeded: as soon as the deadline has passed.
            OnyxrankError: what went wrong.

        """
        return wait(job, self._seconds_left(job), self.drop)

    async def answer(self, job: Job) -> Margins:
        """The answer of a job, for an event loop; as `wait`. Cancelling it frees the job's place."""
        return await answer(job, self._seconds_left(job), self.drop)

    def drop(self, job: Job, *, late: bool = False) -> None:
        """Free the place of a job that nobody waits for; what has not begun will not be done."""
        with self._changed:
            if self._queue.remove(job):
                self._counts.expired += late
                self._counts.cancelled += not late

    def score(
        self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None, deadline: float | None = None
    ) -> Margins:
        """Submit and wait."""
        return self.wait(self.submit(requests, watch, deadline))

    def facts(self) -> dict[str, int | float | None]:
        """How full the queue is, what became of the calls, tokens per second of the last runs: JSON values."""
        with self._changed:
            return {
                "tokens": self._queue.tokens,
                "limit_tokens": self._queue.limit,
                "requests": len(self._queue),
                "tokens_per_second": self._lately.tokens_per_second(self._workers),
                **{name: getattr(self._counts, name) for name in Counts.__dataclass_fields__},
            }

    def close(self) -> None:
        """Refuse new calls, finish those in the queue, end the threads, close the architecture."""
        self.finish()
        self.architecture.close()

    def finish(self) -> None:
        """What `close` does, but for the architecture, which another scheduler may use."""
        self.stop()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def stop(self) -> None:
        """Let the threads end once the queue is empty, without waiting for them."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _seconds_left(self, job: Job) -> float | None:
        """Seconds until the deadline of a job, as far as the system can wait; None without a deadline."""
        if job.deadline is None:
            return None
        return min(max(0.0, job.deadline - self.clock()), threading.TIMEOUT_MAX)

    def _put(self, job: Job) -> Job:
        deadline = job.deadline
        if job.finished:
            job.answer.set_result(job.results())
            return job
        with self._changed:
            if self._closing:
                raise OnyxrankError("this ranker is closed; load the bundle again")
            if deadline is not None and self.clock() >= deadline:
                self._counts.expired += 1
                raise late()
            self._refuse(self._queue.lacking())
            self._start()
            self._queue.admit(job)
            self._counts.admitted += 1
            self._changed.notify_all()
        return job

    def _start(self) -> None:
        for number in range(len(self._threads), self._workers):
            thread = threading.Thread(target=self._work, name=f"onyxrank-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system lets this process have no more
                if self._threads:
                    return  # the others do the work; the next call tries again
                raise OnyxrankError(f"no thread to score on: {error}; raise the limit on processes") from error
            self._threads.append(thread)

    def _refuse(self, lacking: int) -> None:
        if not lacking:
            return
        self._counts.refused += 1
        speed = self._lately.tokens_per_second(self._workers)
        raise Overloaded(
            f"no room in the queue of {self._queue.limit} tokens; try again later, or raise queue_tokens",
            retry_after_s=lacking / speed if speed else None,
        )

    def _work(self) -> None:
        flush_denormals()
        # Nothing of a call is held here: an idle thread must not keep the last caller's texts in memory.
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Wait for a micro-batch, run it and answer its jobs; return False when no more will come."""
        steps = self._next()
        if steps is None:
            return False
        watch, began = Stopwatch(), self.clock()
        try:
            faults: list[BaseException | None] = list(steps[0].run(steps, watch))
            if len(faults) != len(steps):
                raise OnyxrankError(f"of {len(steps)} steps {len(faults)} answered; this is a fault of onyxrank")
        except BaseException as error:  # every error belongs to the callers, since the thread must go on
            faults = [error] * len(steps)
        self._done(steps, faults, watch, self.clock() - began)
        return True

    def _next(self) -> list[Step] | None:
        """Wait for the steps of a micro-batch and begin them; return None when no more will come."""
        while True:
            with self._changed:
                expired = self._queue.expired()
                self._counts.expired += len(expired)
                steps = self._queue.take()
                if not steps and not expired:
                    if self._closing and not len(self._queue):
                        return None
                    self._changed.wait()
            while expired:
                _answer(expired.pop(), late())
            if steps:
                return steps

    def _done(self, steps: list[Step], faults: list[BaseException | None], watch: Stopwatch, seconds: float) -> None:
        answers: list[tuple[Job, BaseException | None]] = []
        with self._changed:
            self._counts.runs += 1
            self._counts.joined += len(steps) > 1
            self._lately.add(sum(step.cost for step in steps), seconds)
            for step, fault in zip(steps, faults, strict=True):
                job = self._queue.ran(step)
                if job is None:
                    continue
                job.spent.take(watch)
                if fault is not None or job.finished:
                    self._queue.remove(job)
                    answers.append((job, fault))
            # Other threads may wait for the history that this was, or for the end of the queue.
            if self._workers > 1 or self._closing:
                self._changed.notify_all()
        now = self.clock()
        for job, fault in answers:
            job.tell_times(now)
            _answer(job, fault)


def _answer(job: Job, fault: BaseException | None) -> None:
    if not job.answer.set_running_or_notify_cancel():
        return
    if fault is None:
        job.answer.set_result(job.results())
    else:
        job.answer.set_exception(fault)
