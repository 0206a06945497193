"""How the answer of a job reaches its caller: on a thread, or on an event loop, in time or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import DeadlineExceeded
from onyxrank.scheduling.queue import Job

Margins = list[NDArray[np.float32]]
"""Of a call, the margins of each request: float32 [items] in input order."""

Drop = Callable[..., None]
"""Frees the place of a job that nobody waits for any more; with ``late=True`` because its deadline has passed."""


def wait(job: Job, seconds: float | None, drop: Drop) -> Margins:
    """Block until a job is answered, for so many seconds at most; None waits as long as it takes.

    Raises:
        DeadlineExceeded: if it was not answered by then.
        OnyxrankError: what went wrong.

    """
    try:
        return job.answer.result(seconds)
    except FutureTimeout:
        if job.answer.cancel():
            drop(job, late=True)
            raise late() from None
        return job.answer.result()
    except BaseException:
        # Ctrl-C, say: nobody waits any more.
        job.answer.cancel()
        drop(job)
        raise


async def answer(job: Job, seconds: float | None, drop: Drop) -> Margins:
    """As `wait`, for an event loop. Cancelling it drops the job."""
    loop = asyncio.get_running_loop()
    there = loop.create_future()

    def wake() -> None:
        if not there.done():
            there.set_result(None)

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(wake)

    job.answer.add_done_callback(tell)
    timer = None if seconds is None else loop.call_later(seconds, wake)
    try:
        await there
    except asyncio.CancelledError:
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
    """The error of a call whose deadline has passed."""
    return DeadlineExceeded("the deadline passed before the request was done; the rest of its work was left")
