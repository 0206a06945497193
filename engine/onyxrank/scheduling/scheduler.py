"""Runs the calls of many threads on few: one thread for each run that may be going on at once.

The policy is in `_queue`. Here are the lock around it, the threads, and how an answer, a deadline or a cancellation
reaches the caller.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.history_cache import HistoryState
from onyxrank.errors import DeadlineExceeded, OnyxrankError, Overloaded
from onyxrank.machine.c_library import flush_denormals
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.scheduling.queue import Job, Queue
from onyxrank.scheduling.work import Piece

DEFAULT_QUEUE_TOKENS = 262_144
"""Of the queue: with MiniLM-L6 in int8 some 20 seconds of work on two cores (benchmarks/results/load.json)."""
_MEMORY = 0.95
"""What a run still counts for in the speed after each further run: about the last 20 matter."""
Scores = list[NDArray[np.float32]]


@dataclass(slots=True)
class Counts:
    """What became of the calls so far.

    Attributes:
        admitted: calls that went into the queue.
        refused: calls that found no room.
        expired: calls whose deadline passed.
        cancelled: calls that their caller gave up.
        runs: micro-batches run.
        joined: those among them that held rows of several calls.

    """

    admitted: int = 0
    refused: int = 0
    expired: int = 0
    cancelled: int = 0
    runs: int = 0
    joined: int = 0


class _Speed:
    """Tokens a second of the last runs, each weighed by its time.

    A history from the cache counts with its tokens and no time, as it counts with them in the queue.
    """

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        self._tokens = self._tokens * _MEMORY + tokens
        self._seconds = self._seconds * _MEMORY + seconds

    def tokens_per_second(self, workers: int) -> float | None:
        return self._tokens / self._seconds * workers if self._seconds > 0 else None


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
        self._queue = Queue(queue_tokens, architecture.joint_tokens, clock)
        self._changed = threading.Condition()
        self._closing = False
        self._counts = Counts()
        self._lately = _Speed()

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
            The job, whose `answer` will hold float32 probabilities per request. Whoever cancels the answer calls
            `drop` too.

        Raises:
            Overloaded: if the queue has no room for it.
            DeadlineExceeded: if the deadline has passed already.
            OnyxrankError: if the scheduler is closed, or the system lets it have no thread.

        """
        return self._put(Job(work=self.architecture.plan(requests), deadline=deadline, watch=watch or Stopwatch()))

    def prepare(
        self, history: NDArray[np.int32], watch: Stopwatch | None = None, deadline: float | None = None
    ) -> HistoryState | None:
        """Compute what can be known of a history before the items are, in its turn; None where that is nothing.

        Args:
            history: its token ids.
            watch: as of `submit`.
            deadline: likewise.

        Raises:
            OnyxrankError: as `submit` and `wait`.

        """
        work = self.architecture.plan_history(history)
        if work is None:
            return None
        self.wait(self._put(Job(work=work, deadline=deadline, watch=watch or Stopwatch())))
        return work.states[0]

    def wait(self, job: Job) -> Scores:
        """The answer of a job, on the caller's thread.

        Raises:
            DeadlineExceeded: as soon as the deadline has passed.
            OnyxrankError: what went wrong.

        """
        try:
            return job.answer.result(None if job.deadline is None else self._left(job.deadline))
        except FutureTimeout:
            if job.answer.cancel():
                self.drop(job, late=True)
                raise _late() from None
            return job.answer.result()
        except BaseException:
            # Ctrl-C, say: nobody waits any more.
            job.answer.cancel()
            self.drop(job)
            raise

    async def answer(self, job: Job) -> Scores:
        """The answer of a job, for an event loop; as `wait`. Cancelling it frees the job's place."""
        loop = asyncio.get_running_loop()
        there = loop.create_future()

        def wake() -> None:
            if not there.done():
                there.set_result(None)

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(wake)

        job.answer.add_done_callback(tell)
        late = None if job.deadline is None else loop.call_later(self._left(job.deadline), wake)
        try:
            await there
        except asyncio.CancelledError:
            job.answer.cancel()
            self.drop(job)
            raise
        finally:
            if late is not None:
                late.cancel()
        if job.answer.cancel():
            self.drop(job, late=True)
            raise _late()
        return job.answer.result()

    def drop(self, job: Job, *, late: bool = False) -> None:
        """Free the place of a job that nobody waits for; what has not begun will not be done."""
        with self._changed:
            if self._queue.remove(job):
                self._counts.expired += late
                self._counts.cancelled += not late

    def score(
        self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None, deadline: float | None = None
    ) -> Scores:
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

    def _left(self, deadline: float) -> float:
        """Seconds to wait, at most as many as the system can."""
        return min(max(0.0, deadline - self.clock()), threading.TIMEOUT_MAX)

    def _put(self, job: Job) -> Job:
        deadline = job.deadline
        if job.work.finished:
            job.answer.set_result(job.work.results())
            return job
        with self._changed:
            if self._closing:
                raise OnyxrankError("this ranker is closed; load the bundle again")
            if deadline is not None and self.clock() >= deadline:
                self._counts.expired += 1
                raise _late()
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
        while (pieces := self._next()) is not None:
            watch, began = Stopwatch(), self.clock()
            try:
                faults: list[BaseException | None] = list(self.architecture.run(pieces, watch))
            except BaseException as error:  # whatever it is belongs to the callers: the thread must go on
                faults = [error] * len(pieces)
            self._done(pieces, faults, watch, self.clock() - began)

    def _next(self) -> list[Piece] | None:
        """Wait for a micro-batch; None when there will be none."""
        while True:
            with self._changed:
                late = self._queue.expired()
                self._counts.expired += len(late)
                pieces = self._queue.take()
                if not pieces and not late:
                    if self._closing and not len(self._queue):
                        return None
                    self._changed.wait()
            for job in late:
                _answer(job, _late())
            if pieces:
                return pieces

    def _done(
        self, pieces: list[Piece], faults: list[BaseException | None], watch: Stopwatch, seconds: float
    ) -> None:
        answers: list[tuple[Job, BaseException | None]] = []
        with self._changed:
            self._counts.runs += 1
            self._counts.joined += len(pieces) > 1
            self._lately.add(sum(piece.tokens for piece in pieces), seconds)
            for piece, fault in zip(pieces, faults, strict=True):
                job = self._queue.ran(piece)
                if job is None:
                    continue
                job.spent.take(watch)
                if fault is not None or job.work.finished:
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
        job.answer.set_result(job.work.results())
    else:
        job.answer.set_exception(fault)


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before the request was done; the rest of its work was left")
