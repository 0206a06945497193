"""Gives a job its answer, and waits for it on a thread or on an event loop until the job's deadline passes.

Whoever stops waiting, because of the deadline or a cancellation, drops the job, so that no work is done for nobody.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.call import Step
from onyxrank.errors import DeadlineExceeded, OnyxrankError
from onyxrank.request.timings import Stopwatch
from onyxrank.scheduling.queue import Job

Margins = list[NDArray[np.float32]]
"""For each request of a call the margins of its items in input order: float32 [items]."""

Drop = Callable[..., None]
"""A function that frees the place of a job that nobody waits for any more; see `Scheduler.drop`."""


def wait(job: Job, seconds: float | None, drop: Drop) -> Margins:
    """Block until a job is answered, and return its margins.

    Args:
        job: the job.
        seconds: most seconds to wait, or None to wait as long as it takes.
        drop: frees the job's place if it was not answered by then.

    Raises:
        DeadlineExceeded: if the job was not answered in that time.
        OnyxrankError: if the job failed; it is the error of the failed step.

    """
    try:
        return job.answer.result(seconds)
    except FutureTimeout:
        if job.answer.cancel():
            drop(job, late=True)
            raise late() from None
        return job.answer.result()  # it was answered at the last moment
    except BaseException:
        # The job failed and has left the queue, or the wait was interrupted, by Ctrl-C for example: nobody waits now.
        job.answer.cancel()
        drop(job)
        raise


async def answer(job: Job, seconds: float | None, drop: Drop) -> Margins:
    """Wait on an event loop until a job is answered, as `wait` does on a thread. Cancelling this drops the job."""
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed, so that nobody waits any more
            loop.call_soon_threadsafe(wake)

    job.answer.add_done_callback(tell)
    timer = None if seconds is None else loop.call_later(seconds, wake)
    try:
        await woken
    except BaseException:  # it was cancelled, or the coroutine was closed
        job.answer.cancel()
        drop(job)
        raise
    finally:
        if timer is not None:
            timer.cancel()
    if job.answer.cancel():
        drop(job, late=True)
        raise late()
    return job.answer.result()


def late() -> DeadlineExceeded:
    """Make the error for a call whose deadline has passed."""
    return DeadlineExceeded("the deadline passed before the request was done; the rest of its work was left")


def give(job: Job, fault: BaseException | None) -> None:
    """Put the margins or the error into a job's answer, unless its caller has cancelled it."""
    if not job.answer.set_running_or_notify_cancel():
        return
    fault = fault or job.missing()
    if fault is None:
        job.answer.set_result(job.results())
    else:
        job.answer.set_exception(fault)


def own_error(error: BaseException) -> BaseException:
    """Make an error for one of several callers, who each add their traceback to what they raise."""
    try:
        own = copy.copy(error)
    except Exception:  # the class needs other arguments than it keeps
        own = OnyxrankError(f"a run of several requests failed ({type(error).__name__})")
    own.__cause__ = error
    return own


def run_together(steps: Sequence[Step], watch: Stopwatch) -> list[BaseException | None]:
    """Run the steps of one micro-batch, and give for each its error or None.

    Every error belongs to the callers, since the thread must go on; steps of several callers get errors of their own.
    """
    try:
        faults: list[BaseException | None] = list(steps[0].run(steps, watch))
        if len(faults) != len(steps):
            raise OnyxrankError(f"of {len(steps)} steps {len(faults)} answered; this is a fault of onyxrank")
    except BaseException as error:
        return [error] if len(steps) == 1 else [own_error(error) for _ in steps]
    return faults
