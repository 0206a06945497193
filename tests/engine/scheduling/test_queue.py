"""The policy, without threads: simulated work under an injected clock, a token a second."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Cuts
from onyxrank.architectures.call import NO_ROWS, Step
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.scheduling.queue import Job, Queue

MOST = 8  # tokens of a piece in these tests


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Simulated(Step):
    def run(self, together, watch):
        raise AssertionError("the queue runs nothing")


def job(*sizes, rows=1, deadline=None, history=0, joint_tokens=0):
    """A call with steps of the given tokens, which need a first one of some if there is a history."""
    items = Ragged.of([[1]] * (rows * len(sizes)))
    call = Job([EncodedRequest(np.arange(max(1, history), dtype=np.int32), items, Cuts())], deadline)
    needs = frozenset()
    if history:
        call.add([Simulated(call=call, key="history", rows=NO_ROWS, width=history)])
        needs = frozenset({"history"})
    call.add(
        Simulated(
            call=call,
            key=number,
            needs=needs,
            rows=np.arange(number * rows, (number + 1) * rows),
            width=size // rows,
            joint_tokens=joint_tokens,
        )
        for number, size in enumerate(sizes)
    )
    return call


def run_all(queue, clock, arrivals=()):
    """Serve everything, one run at a time; gives when each job was done."""
    waiting, done = sorted(arrivals, key=lambda arrival: arrival[0]), {}
    while len(queue) or waiting:
        while waiting and (waiting[0][0] <= clock.now or not len(queue)):
            moment, late = waiting.pop(0)
            clock.now = max(clock.now, moment)
            queue.admit(late)
        steps = queue.take()
        clock.now += sum(step.cost for step in steps)
        for step in steps:
            owner = queue.ran(step)
            if owner.finished:
                queue.remove(owner)
                done[owner] = clock.now
    return done


def queue_of(limit=10_000):
    clock = Clock()
    return Queue(limit, clock), clock


def test_equal_requests_are_served_in_the_order_in_which_they_came():
    queue, clock = queue_of()
    jobs = [job(4, 4) for _ in range(5)]
    done = run_all(queue, clock, [(0, one) for one in jobs])
    assert [done[one] for one in jobs] == [8, 16, 24, 32, 40]


def test_a_short_request_overtakes_a_long_one_between_two_micro_batches():
    queue, clock = queue_of()
    long, short = job(*[MOST] * 10), job(2)
    done = run_all(queue, clock, [(0, long), (1, short)])
    assert done[short] == MOST + 2
    assert done[long] == 10 * MOST + 2


def test_a_long_request_goes_on_under_a_flood_of_short_ones():
    queue, clock = queue_of()
    long = job(*[MOST] * 10)
    flood = [job(MOST) for _ in range(200)]
    done = run_all(queue, clock, [(0, long), *((0, one) for one in flood)])
    assert done[long] <= 2 * 10 * MOST + MOST


def test_short_requests_go_on_beside_several_long_ones_that_came_first():
    queue, clock = queue_of()
    longs = [job(*[MOST] * 50) for _ in range(4)]
    shorts = [job(2) for _ in range(10)]
    done = run_all(queue, clock, [*((0, one) for one in longs), *((1, one) for one in shorts)])
    assert max(done[one] for one in shorts) <= 2 * 10 * 2 + 2 * MOST


sizes = st.lists(st.integers(1, MOST), min_size=1, max_size=12)
arrivals = st.lists(st.tuples(st.integers(0, 60), sizes), min_size=1, max_size=15)


@given(arrivals)
def test_nobody_waits_more_than_twice_as_long_as_first_come_first_served(asked):
    queue, clock = queue_of()
    jobs = [(moment, job(*sizes)) for moment, sizes in asked]
    done = run_all(queue, clock, jobs)
    free = 0
    for number, (moment, one) in sorted(enumerate(jobs), key=lambda entry: (entry[1][0], entry[0])):
        free = max(free, moment) + sum(asked[number][1])
        assert done[one] - moment <= 2 * (free - moment) + 2 * MOST


@given(st.lists(sizes, min_size=1, max_size=15))
def test_nobody_waits_more_than_twice_as_long_as_smallest_first(asked):
    queue, clock = queue_of()
    jobs = [job(*sizes) for sizes in asked]
    done = run_all(queue, clock, [(0, one) for one in jobs])
    free = 0
    for sizes, one in sorted(zip(asked, jobs, strict=True), key=lambda entry: sum(entry[0]).bit_length()):
        free += sum(sizes)
        assert done[one] <= 2 * free + 2 * MOST


def test_requests_of_about_one_size_are_served_in_the_order_in_which_they_came():
    queue, clock = queue_of()
    long, *widgets = job(*[MOST] * 30), *(job(size) for size in (7, 4, 6, 5))
    done = run_all(queue, clock, [(0, long), *((1, one) for one in widgets)])
    assert sorted(widgets, key=done.get) == widgets


@given(arrivals, st.integers(0, 30))
def test_every_step_runs_once_and_the_tokens_add_up(asked, budget):
    queue, clock = queue_of()
    jobs = [(moment, job(*sizes, joint_tokens=budget)) for moment, sizes in asked]
    done = run_all(queue, clock, jobs)
    assert len(done) == len(jobs)
    assert queue.tokens == 0
    assert all(one.left == 0 and not one.running for _, one in jobs)


def test_a_queue_with_room_takes_any_request_and_a_full_one_none():
    queue, _ = queue_of(limit=100)
    queue.admit(job(60))
    assert queue.tokens == 50, "a request counts for at most half"
    queue.admit(job(49))
    assert queue.lacking() == 0, "small and large find the same room"
    queue.admit(job(30))
    assert queue.tokens == 129
    assert queue.lacking() == 30


def test_one_huge_list_does_not_shut_the_others_out():
    queue, _ = queue_of(limit=100)
    queue.admit(job(*[MOST] * 1000))
    assert queue.lacking() == 0


def test_leaving_frees_the_place_once():
    queue, _ = queue_of(limit=100)
    one, other = job(40), job(30)
    queue.admit(one)
    queue.admit(other)
    assert queue.remove(one)
    assert not queue.remove(one)
    assert (queue.tokens, len(queue)) == (30, 1)


def test_a_request_that_left_is_not_begun_again_and_its_run_is_nobodys():
    queue, _ = queue_of()
    one = job(4, 4)
    queue.admit(one)
    [step] = queue.take()
    queue.remove(one)
    assert queue.ran(step) is None
    assert queue.take() == []


def test_deadlines_are_looked_at_between_micro_batches():
    queue, clock = queue_of()
    late, in_time = job(4, 4, 4, deadline=6.0), job(4, deadline=100.0)
    queue.admit(late)
    [step] = queue.take()
    queue.admit(in_time)
    clock.now = 5.9
    assert queue.expired() == []
    clock.now = 6.0
    assert queue.expired() == [late]
    assert queue.ran(step) is None
    assert [step.call for step in queue.take()] == [in_time]
    assert queue.take() == []


def test_rows_wait_for_their_history_and_others_go_ahead():
    queue, _ = queue_of()
    one, other = job(4, 4, history=6), job(30)
    queue.admit(one)
    [history] = queue.take()
    assert (history.key, history.cost) == ("history", 6)
    assert queue.take() == []
    queue.admit(other)
    assert [step.call for step in queue.take()] == [other]
    queue.ran(history)
    assert [step.key for step in queue.take()] == [0]


def test_steps_that_score_no_item_run_alone():
    queue, _ = queue_of()
    for _ in range(3):
        queue.admit(job(4, history=6))
    assert [len(queue.take()) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("budget", "others", "joined"),
    [
        (0, [(8, 2)], 1),
        (16, [(8, 2)], 2),
        (24, [(8, 2), (8, 2), (8, 2)], 3),
        (15, [(8, 2)], 1),
        (100, [(2, 2)], 1),  # rows of 4 beside rows of 1: more padding than it is worth
        (100, [(40, 2), (8, 2)], 2),
    ],
    ids=["never", "two", "budget", "too large", "padding", "picks what fits"],
)
def test_a_micro_batch_with_room_takes_in_others(budget, others, joined):
    queue, _ = queue_of()
    lead = job(8, rows=2, joint_tokens=budget)
    for one in (lead, *(job(size, rows=rows, joint_tokens=budget) for size, rows in others)):
        queue.admit(one)
    together = queue.take()
    assert len(together) == joined


def test_the_seconds_of_a_request_are_told_by_stage():
    queue, clock = queue_of()
    one, other = job(4, 4), job(4)
    queue.admit(other)
    queue.admit(one)
    done = run_all(queue, clock)
    one.spent.add("run", 8.0)
    one.tell_times(done[one])
    times = one.watch.read()
    assert (times.run, times.queue) == (8.0, 4.0)


def test_runs_that_overlap_count_once():
    queue, clock = queue_of()
    one = job(4, 4)
    queue.admit(one)
    [first], [second] = queue.take(), queue.take()
    clock.now = 6.0
    for step in (first, second):
        one.spent.add("run", 6.0)
        queue.ran(step)
    one.tell_times(clock.now)
    assert one.watch.read().run == pytest.approx(6.0)
    assert one.watch.read().queue == 0
