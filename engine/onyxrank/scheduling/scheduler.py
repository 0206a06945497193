"""Runs the calls of any number of callers on a few threads, one for each run that may go on at the same time.

`queue` decides what runs next. This module has the lock around it and the threads, and it sees to it that an answer,
a passed deadline or a cancellation reaches the caller.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.call import Step
from onyxrank.errors import OnyxrankError, Overloaded
from onyxrank.machine.c_library import flush_denormals
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest, Ragged
from onyxrank.scheduling.counts import Counts, Speed
from onyxrank.scheduling.deadlines import seconds_left
from onyxrank.scheduling.queue import Job, Queue
from onyxrank.scheduling.waiting import Margins, answer, give, late, run_together, wait

DEFAULT_QUEUE_TOKENS = 262_144
"""Most tokens in the queue by default.

With MiniLM-L6 in int8 they are some 20 seconds of work on two cores (``load.json`` in benchmarks/results).
"""


class Scheduler:
    """Lets any number of threads and event loops use one architecture. Its own threads start with the first call.

    Args:
        architecture: the architecture that scores; it is closed with the scheduler.
        workers: number of threads, and so the most micro-batches that run at once.
        queue_tokens: number of tokens from which on the queue is full.
        clock: function that returns the present moment in seconds; deadlines are moments of this clock.

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
        self._changed = threading.Condition(lock := threading.RLock())
        self._room = threading.Condition(lock)  # told when a job leaves the queue
        self._closing = False
        self._counts = Counts()
        self._speed = Speed()

    def check_room(self) -> None:
        """Raise Overloaded where `submit` would now, so that a caller can ask before it tokenizes a request."""
        with self.room(0):
            pass

    @contextmanager
    def room(self, tokens: int) -> Iterator[None]:
        """Hold room for a request while it is tokenized, or raise Overloaded; how many tokens it has is estimated."""
        with self._changed:
            self._refuse(self._queue.lacking())
            charge = self._queue.reserve(tokens)
        try:
            yield
        finally:
            with self._changed:
                self._queue.release(charge)

    def submit(
        self,
        requests: Sequence[EncodedRequest],
        watch: Stopwatch | None = None,
        deadline: float | None = None,
        *,
        patient: bool = False,
    ) -> Job:
        """Put a call into the queue.

        Args:
            requests: the requests to score.
            watch: stopwatch to add the seconds of the call's stages to, or None.
            deadline: moment of the clock after which the answer is of no use; None for never.
            patient: whether to wait for room where the queue is full, which blocks the caller's thread.

        Returns:
            The job, whose `answer` will hold the margins of each request. Whoever cancels the answer must call `drop`
            too.

        Raises:
            Overloaded: if the queue is full.
            DeadlineExceeded: if the deadline has passed already.
            OnyxrankError: if the scheduler is closed, or if the system refuses to start a thread.

        """
        job = Job(requests, deadline, watch)
        if job.starts[-1]:  # a call without items needs no room
            with self._changed:
                self._admit_or_raise(job, patient)
        job.add(self.architecture.plan(job))
        return self._put(job, patient)

    def prepare(
        self, history: EncodedHistory, watch: Stopwatch | None = None, deadline: float | None = None
    ) -> object | None:
        """Compute the state of a history before its items are known.

        `watch` and `deadline` are those of `submit`.

        Returns:
            The state, for `EncodedHistory.state`, or None if the architecture computes nothing from a history alone.

        Raises:
            OnyxrankError: as `submit` and `wait` do.

        """
        job = Job([EncodedRequest(history.ids, Ragged.of([]), history.cuts, events=history.events)], deadline, watch)
        step = self.architecture.prepare(job)
        if step is None:
            return None
        job.add([step])
        self.wait(self._put(job))
        return step.state

    def wait(self, job: Job) -> Margins:
        """Block the caller's thread until a job is answered, and return its margins.

        Raises:
            DeadlineExceeded: if the deadline passes before; it is raised at that moment.
            OnyxrankError: if the job failed; it is the error of the failed step.

        """
        return wait(job, seconds_left(job.deadline, self.clock), self.drop)

    async def answer(self, job: Job) -> Margins:
        """Wait on an event loop until a job is answered, as `wait` does. Cancelling this frees the job's place."""
        return await answer(job, seconds_left(job.deadline, self.clock), self.drop)

    def drop(self, job: Job, *, late: bool = False) -> None:
        """Free the place of a job that nobody waits for any more; its steps that have not begun will not run.

        Args:
            job: the job.
            late: whether it is dropped because its deadline has passed, and counts as expired and not as cancelled.

        """
        with self._changed:
            if self._queue.remove(job):
                self._room.notify_all()
                self._counts.expired += late
                self._counts.cancelled += not late

    def score(
        self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None, deadline: float | None = None
    ) -> Margins:
        """Submit a call, wait for it, and return its margins."""
        return self.wait(self.submit(requests, watch, deadline))

    def score_in_turn(self, requests: Sequence[EncodedRequest]) -> Margins:
        """Score bulk work as `score` does, but wait for room where the queue is full."""
        return self.wait(self.submit(requests, patient=True))

    def facts(self) -> dict[str, int | float | None]:
        """Report how full the queue is, what became of the calls, and the speed of the last runs, as JSON values."""
        with self._changed:
            return {
                "tokens": self._queue.tokens,
                "limit_tokens": self._queue.limit,
                "requests": len(self._queue),
                "tokens_per_second": self._speed.tokens_per_second(self._workers),
                **{name: getattr(self._counts, name) for name in Counts.__dataclass_fields__},
            }

    def close(self) -> None:
        """Do what `finish` does, and close the architecture."""
        self.finish()
        self.architecture.close()

    def finish(self) -> None:
        """Refuse new calls, finish those in the queue, and end the threads; another scheduler may use the rest."""
        self.stop()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def stop(self) -> None:
        """Refuse new calls and let the threads end once the queue is empty, without waiting for that."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._room.notify_all()

    def _put(self, job: Job, patient: bool = False) -> Job:
        if job.finished:
            give(job, None)
            return job
        with self._changed:
            self._admit_or_raise(job, patient)
            self._start()
            self._queue.admit(job)
            self._counts.admitted += 1
            self._changed.notify_all()
        return job

    def _admit_or_raise(self, job: Job, patient: bool) -> None:
        """Raise if a job cannot enter the queue now, or wait if it is patient; the lock is held."""
        while patient and self._queue.lacking() and not self._closing:
            self._room.wait()
        if self._closing:
            raise OnyxrankError("this ranker is closed; load the bundle again")
        if job.deadline is not None and self.clock() >= job.deadline:
            self._counts.expired += 1
            raise late()
        self._refuse(self._queue.lacking())

    def _start(self) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]  # one that died is replaced
        for number in range(len(self._threads), self._workers):
            thread = threading.Thread(target=self._work, name=f"onyxrank-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the process has as many threads as the system allows
                if self._threads:
                    return  # those that have started do the work, and the next call tries again
                raise OnyxrankError(f"no thread to score on: {error}; raise the limit on processes") from error
            self._threads.append(thread)

    def _refuse(self, lacking: int) -> None:
        if lacking:
            self._counts.refused += 1
            speed = self._speed.tokens_per_second(self._workers)
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
        self._done(steps, run_together(steps, watch), watch, self.clock() - began)
        return True

    def _next(self) -> list[Step] | None:
        """Wait for the steps of a micro-batch and begin them; return None when no more will come."""
        while True:
            with self._changed:
                expired = self._queue.expired()
                self._counts.expired += len(expired)
                if expired:
                    self._room.notify_all()
                steps = self._queue.take()
                if not steps and not expired:
                    if self._closing and not len(self._queue):
                        return None
                    self._changed.wait()
            while expired:
                give(expired.pop(), late())
            if steps:
                return steps

    def _done(self, steps: list[Step], faults: list[BaseException | None], watch: Stopwatch, seconds: float) -> None:
        answers: list[tuple[Job, BaseException | None]] = []
        with self._changed:
            self._counts.runs += 1
            self._counts.joined += len(steps) > 1
            self._speed.add(sum(step.cost for step in steps), seconds)
            for step, fault in zip(steps, faults, strict=True):
                job = self._queue.ran(step)
                if job is None:
                    continue
                job.spent.take(watch)
                if fault is not None or job.finished:
                    self._queue.remove(job)
                    answers.append((job, fault))
            if answers:
                self._room.notify_all()
            # Other threads may wait for the state that a step has computed, or for the queue to be empty.
            if self._workers > 1 or self._closing:
                self._changed.notify_all()
        now = self.clock()
        for job, fault in answers:
            job.tell_times(now)
            give(job, fault)
