from __future__ import annotations

import asyncio
import gc
import platform
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from engine_fakes import FakeSession, by_content

from onyxrank import Cuts, DeadlineExceeded, NonFiniteScore, OnyxrankError, Overloaded
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import Cross, PairStep
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.scheduling.scheduler import Scheduler

PATIENCE = 20.0


class Gate:
    """A session that says when it begins to run, and waits for leave to end."""

    def __init__(self):
        self.began, self.leave = threading.Semaphore(0), threading.Semaphore(0)
        self.session = FakeSession(self._answer)

    def _answer(self, feeds):
        self.began.release()
        assert self.leave.acquire(timeout=PATIENCE)
        return by_content(feeds)

    def wait(self):
        assert self.began.acquire(timeout=PATIENCE)

    def open(self, times=1):
        self.leave.release(times)


def request(*items, history=(2, 3)):
    return EncodedRequest(np.array(history, np.int32), Ragged.of([list(item) for item in items]), Cuts())


def scheduler_of(session, budget=16, **options):
    return Scheduler(Cross({"model": session}, "softmax", BatchLimits(micro_batch_tokens=budget)), **options)


def expected(one):
    """The margins, computed at once and without a queue."""
    cross = Cross({"model": FakeSession()}, "softmax", BatchLimits())
    call = Call([one])
    for step in cross.plan(call):
        assert step.run([step], Stopwatch()) == [None]
    return call.margins


@pytest.mark.parametrize("workers", [1, 3])
def test_64_threads_each_get_their_own_answer(workers):
    scheduler = scheduler_of(FakeSession(), workers=workers)
    requests = [request(*([5 + number % 40, 7] for _ in range(1 + number % 9))) for number in range(500)]
    with ThreadPoolExecutor(64) as callers:
        for one, [scores] in zip(requests, callers.map(lambda one: scheduler.score([one]), requests), strict=True):
            np.testing.assert_allclose(scores, expected(one), rtol=1e-6)
    facts = scheduler.facts()
    assert (facts["admitted"], facts["tokens"], facts["requests"]) == (500, 0, 0)
    scheduler.close()


@pytest.mark.parametrize("deadline", [None, 0.05], ids=["answered", "expired"])
def test_an_idle_thread_holds_nothing_of_the_last_call(deadline):
    gate = Gate()
    scheduler = scheduler_of(gate.session, budget=4)
    first = scheduler.submit([request([5])])
    gate.wait()
    due = None if deadline is None else scheduler.clock() + deadline
    job = scheduler.submit([request([6])], deadline=due)
    time.sleep(deadline or 0)
    gate.open(2)
    scheduler.wait(first)
    with pytest.raises(DeadlineExceeded) if deadline else nullcontext():
        job.answer.result(PATIENCE)
    alive = [weakref.ref(first), weakref.ref(job)]
    del first, job
    until = time.monotonic() + PATIENCE
    while any(one() is not None for one in alive) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    assert [one() for one in alive] == [None, None]
    scheduler.close()


def test_small_requests_share_a_micro_batch():
    gate = Gate()
    scheduler = scheduler_of(gate.session, budget=16)
    jobs = [scheduler.submit([request([5])])]
    gate.wait()
    jobs += [scheduler.submit([request([6 + number])]) for number in range(4)]
    gate.open(2)
    for number, job in enumerate(jobs):
        np.testing.assert_allclose(scheduler.wait(job)[0], expected(request([5 + number])), rtol=1e-6)
    assert [shape[0] for shape in gate.session.shapes] == [1, 4]
    assert scheduler.facts()["joined"] == 1
    scheduler.close()


def test_a_broken_answer_is_only_that_requests():
    def broken(feeds):
        logits = by_content(feeds)
        logits[(feeds["input_ids"] == 9).any(axis=1)] = np.nan
        return logits

    leave = threading.Event()
    session = FakeSession(lambda feeds: leave.wait(PATIENCE) and broken(feeds))
    scheduler = scheduler_of(session, budget=64)
    jobs = [scheduler.submit([request([token])]) for token in (5, 6, 9, 7)]
    leave.set()
    for job, token in zip(jobs, (5, 6, 9, 7), strict=True):
        if token == 9:
            with pytest.raises(NonFiniteScore, match=r"items\[0\]"):
                scheduler.wait(job)
        else:
            np.testing.assert_allclose(scheduler.wait(job)[0], expected(request([token])), rtol=1e-6)
    scheduler.close()


def test_an_architecture_that_answers_too_few_steps_does_not_stop_the_thread(monkeypatch):
    scheduler = scheduler_of(FakeSession())
    with monkeypatch.context() as patched:
        patched.setattr(PairStep, "run", lambda self, together, watch: [])
        with pytest.raises(OnyxrankError, match="of 1 steps 0 answered"):
            scheduler.score([request([5])])
    np.testing.assert_allclose(scheduler.score([request([5])])[0], expected(request([5])), rtol=1e-6)
    scheduler.close()


def test_what_goes_wrong_is_the_callers_and_the_thread_goes_on():
    def fail(feeds):
        if (feeds["input_ids"] == 9).any():
            raise ZeroDivisionError
        return by_content(feeds)

    scheduler = scheduler_of(FakeSession(fail))
    with pytest.raises(ZeroDivisionError):
        scheduler.score([request([9])])
    np.testing.assert_allclose(scheduler.score([request([5])])[0], expected(request([5])), rtol=1e-6)
    scheduler.close()


def test_a_full_queue_refuses_and_says_when_to_come_back():
    gate = Gate()
    scheduler = scheduler_of(gate.session, budget=3, queue_tokens=6)
    scheduler.check_room()
    first = scheduler.submit([request([5])])
    gate.wait()
    second = scheduler.submit([request([6])])
    with pytest.raises(Overloaded, match="queue of 6 tokens") as caught:
        scheduler.submit([request([7])])
    assert caught.value.retry_after_s is None, "nothing has run: there is no speed to tell it from"
    gate.open()
    scheduler.wait(first)
    gate.wait()
    third = scheduler.submit([request([7])])
    with pytest.raises(Overloaded) as caught:
        scheduler.check_room()
    assert caught.value.retry_after_s > 0
    gate.open(2)
    for job in (second, third):
        scheduler.wait(job)
    assert scheduler.facts()["refused"] == 2
    scheduler.close()


def test_a_deadline_that_has_passed_is_not_begun():
    session = FakeSession()
    scheduler = scheduler_of(session)
    with pytest.raises(DeadlineExceeded):
        scheduler.submit([request([5])], deadline=scheduler.clock() - 1)
    assert session.shapes == []
    scheduler.close()


def test_the_caller_is_told_at_the_deadline_and_the_rest_is_left():
    gate = Gate()
    scheduler = scheduler_of(gate.session, budget=3)
    job = scheduler.submit([request([5], [6], [7])], deadline=scheduler.clock() + 0.05)
    gate.wait()
    with pytest.raises(DeadlineExceeded):
        scheduler.wait(job)
    assert scheduler.facts()["tokens"] == 0
    gate.open()
    scheduler.close()
    assert len(gate.session.shapes) == 1


def test_a_deadline_under_an_injected_clock_ends_between_micro_batches():
    now = [0.0]

    def answer(feeds):
        now[0] += 1.0
        return by_content(feeds)

    scheduler = scheduler_of(FakeSession(answer), budget=3, clock=lambda: now[0])
    job = scheduler.submit([request([5], [6], [7], [8])], deadline=1.5)
    with pytest.raises(DeadlineExceeded):
        job.answer.result(PATIENCE)
    assert now[0] == 2.0
    assert scheduler.facts()["expired"] == 1
    scheduler.close()


def test_cancelling_on_the_event_loop_frees_the_place():
    async def cancelled(scheduler, gate):
        first = scheduler.submit([request([5])])
        await asyncio.to_thread(gate.wait)
        job = scheduler.submit([request([6], [7])])
        before = scheduler.facts()["tokens"]
        waiting = asyncio.create_task(scheduler.answer(job))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        facts = scheduler.facts()
        assert (before - facts["tokens"], facts["cancelled"]) == (6, 1)
        gate.open()
        await scheduler.answer(first)

    gate = Gate()
    scheduler = scheduler_of(gate.session)
    asyncio.run(cancelled(scheduler, gate))
    scheduler.close()
    assert len(gate.session.shapes) == 1


def test_the_event_loop_is_told_at_the_deadline():
    async def late(scheduler):
        job = scheduler.submit([request([5])], deadline=scheduler.clock() + 0.05)
        with pytest.raises(DeadlineExceeded):
            await scheduler.answer(job)

    gate = Gate()
    scheduler = scheduler_of(gate.session)
    asyncio.run(late(scheduler))
    gate.open()
    scheduler.close()


def test_closing_drains_and_then_refuses():
    session = FakeSession(lambda feeds: time.sleep(0.01) or by_content(feeds))
    scheduler = scheduler_of(session, budget=3)
    jobs = [scheduler.submit([request([5 + number], [6])]) for number in range(10)]
    scheduler.close()
    assert all(job.answer.done() for job in jobs)
    assert session.closed == 1
    with pytest.raises(OnyxrankError, match="closed"):
        scheduler.submit([request([5])])


def test_as_many_runs_at_once_as_workers():
    both = threading.Barrier(2, timeout=PATIENCE)

    def meet(feeds):
        both.wait()  # breaks unless another run is there at the same time
        return by_content(feeds)

    scheduler = scheduler_of(FakeSession(meet), budget=3, workers=2)
    one = request([5], [6])
    np.testing.assert_allclose(scheduler.score([one])[0], expected(one), rtol=1e-6)
    scheduler.close()


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_thread_that_does_not_start_fails_its_call_alone_if_there_is_no_other(monkeypatch, allowed):
    scheduler = scheduler_of(FakeSession(), workers=2)
    one = request([5], [6])
    started = []
    start = threading.Thread.start

    def limited(thread):
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", limited)
        if allowed:
            np.testing.assert_allclose(scheduler.score([one])[0], expected(one), rtol=1e-6)
        else:
            with pytest.raises(OnyxrankError, match="no thread to score on: can't start new thread"):
                scheduler.score([one])
    assert scheduler.facts()["requests"] == 0
    np.testing.assert_allclose(scheduler.score([one])[0], expected(one), rtol=1e-6)
    scheduler.close()


@pytest.mark.parametrize("deadline", [1e12, float("inf")])
def test_a_deadline_may_be_farther_than_the_system_can_wait(deadline):
    scheduler = scheduler_of(FakeSession())
    one = request([5], [6])
    np.testing.assert_allclose(scheduler.score([one], deadline=deadline)[0], expected(one), rtol=1e-6)

    async def ask():
        return await scheduler.answer(scheduler.submit([one], deadline=deadline))

    np.testing.assert_allclose(asyncio.run(ask())[0], expected(one), rtol=1e-6)
    scheduler.close()


def test_nothing_to_score_needs_no_thread():
    scheduler = scheduler_of(FakeSession())
    before = threading.active_count()
    assert [len(row) for row in scheduler.score([request(), request()])] == [0, 0]
    assert scheduler.score([]) == []
    assert threading.active_count() == before
    scheduler.close()


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="on Linux and x86-64 only")
def test_runs_do_not_crawl_through_denormals():
    products = []

    def answer(feeds):
        products.append(float(np.float32(2e-38) * np.float32(0.25)))
        return by_content(feeds)

    scheduler = scheduler_of(FakeSession(answer), workers=2)
    scheduler.score([request([4, 5])])
    scheduler.close()
    assert products == [0.0]


def test_a_thread_that_died_is_replaced():
    scheduler = scheduler_of(FakeSession())
    scheduler.score([request([5])])
    [thread] = scheduler._threads
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    scheduler._threads[:] = [dead]
    job = scheduler.submit([request([5])])
    assert [one.is_alive() for one in scheduler._threads] == [True]
    scheduler.wait(job)
    scheduler.close()
    thread.join(PATIENCE)


def test_joined_calls_that_fail_have_errors_of_their_own():
    gate = Gate()

    def fail(feeds):
        gate._answer(feeds)
        raise OnyxrankError("no memory")

    scheduler = scheduler_of(FakeSession(fail), budget=16)
    jobs = [scheduler.submit([request([5])])]
    gate.wait()
    jobs += [scheduler.submit([request([6])]), scheduler.submit([request([7])])]
    gate.open(2)
    errors = [job.answer.exception(PATIENCE) for job in jobs]
    assert scheduler.facts()["joined"] == 1
    assert [str(error) for error in errors] == ["no memory"] * 3
    assert len({id(error) for error in errors}) == 3
    scheduler.close()


def test_a_coroutine_that_is_closed_frees_its_place():
    gate = Gate()
    scheduler = scheduler_of(gate.session, budget=4)
    first = scheduler.submit([request([5])])
    gate.wait()

    async def leave():
        waiting = scheduler.answer(scheduler.submit([request([6])]))
        waiting.send(None)
        waiting.close()

    asyncio.run(leave())
    assert scheduler.facts()["requests"] == 1
    gate.open(2)
    scheduler.wait(first)
    scheduler.close()


def test_a_full_queue_refuses_before_it_plans(monkeypatch):
    gate = Gate()
    scheduler = scheduler_of(gate.session, budget=3, queue_tokens=1)
    first = scheduler.submit([request([5])])
    gate.wait()
    with monkeypatch.context() as patched:
        patched.setattr(Cross, "plan", lambda self, call: pytest.fail("it was planned"))
        with pytest.raises(Overloaded):
            scheduler.submit([request([6])])
    gate.open()
    scheduler.wait(first)
    scheduler.close()


def test_bulk_work_waits_for_room():
    gate = Gate()
    scheduler = scheduler_of(gate.session, budget=3, queue_tokens=1)
    first = scheduler.submit([request([5])])
    gate.wait()
    with ThreadPoolExecutor(1) as pool:
        bulk = pool.submit(scheduler.score_in_turn, [request([6])])
        while not scheduler._room._waiters:
            time.sleep(0.001)
        gate.open(2)
        scheduler.wait(first)
        np.testing.assert_allclose(bulk.result(PATIENCE)[0], expected(request([6])), rtol=1e-6)
    assert scheduler.facts()["refused"] == 0
    scheduler.close()


def test_callers_do_not_share_a_micro_batch_where_scores_depend_on_it():
    gate = Gate()
    limits = BatchLimits(micro_batch_tokens=16, shared=False)
    scheduler = Scheduler(Cross({"model": gate.session}, "softmax", limits))
    jobs = [scheduler.submit([request([5])])]
    gate.wait()
    jobs += [scheduler.submit([request([6 + number])]) for number in range(2)]
    gate.open(3)
    for job in jobs:
        scheduler.wait(job)
    assert [shape[0] for shape in gate.session.shapes] == [1, 1, 1]
    scheduler.close()


@pytest.mark.parametrize("queued", [True, False])
def test_an_item_that_no_step_has_scored_is_an_error(monkeypatch, queued):
    monkeypatch.setattr(Call, "keep", lambda self, rows, margins: None)
    scheduler = scheduler_of(FakeSession())
    score = scheduler.score if queued else scheduler.architecture.margins
    with pytest.raises(NonFiniteScore, match=r"no step has scored items\[0\]"):
        score([request([5])])
    scheduler.close()
