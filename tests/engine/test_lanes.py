from __future__ import annotations

import threading

import numpy as np
import pytest
from engine_fakes import FakeSession

from onyxrank import OnyxrankError
from onyxrank._lanes import Lanes
from onyxrank._session_pool import SessionPool
from onyxrank._timing import Stopwatch

GROUPS = [np.array([0, 1]), np.array([2]), np.array([3, 4, 5])]


def answer(feeds):
    return feeds["input_ids"].astype(np.float32) * 2


def feeds(indices):
    return {"input_ids": indices[:, None]}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_outputs_stay_with_their_groups(count):
    lanes = Lanes(count)
    done = list(lanes.run(FakeSession(answer), GROUPS, feeds, Stopwatch()))
    lanes.close()
    assert [indices.tolist() for indices, _ in done] == [group.tolist() for group in GROUPS]
    assert all((output[:, 0] == indices * 2).all() for indices, output in done)


def test_as_many_runs_at_once_as_lanes():
    both = threading.Barrier(2, timeout=10)

    def wait(feeds):
        both.wait()  # breaks unless another run is there at the same time
        return answer(feeds)

    lanes = Lanes(2)
    assert len(list(lanes.run(FakeSession(wait), GROUPS[:2], feeds, Stopwatch()))) == 2
    lanes.close()


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_of_one_run_is_the_callers(count):
    def fail(feeds):
        if feeds["input_ids"][0, 0] == 2:
            raise OnyxrankError("broken")
        return answer(feeds)

    lanes = Lanes(count)
    with pytest.raises(OnyxrankError, match="broken"):
        list(lanes.run(FakeSession(fail), GROUPS, feeds, Stopwatch()))
    lanes.close()


def test_time_is_told_in_both_ways():
    for count in (1, 2):
        watch, lanes = Stopwatch(), Lanes(count)
        list(lanes.run(FakeSession(answer), GROUPS, feeds, watch))
        lanes.close()
        assert watch.read().run > 0


def test_a_pool_uses_free_sessions_and_closes_all():
    both = threading.Barrier(2, timeout=10)

    def wait(feeds):
        both.wait()
        return answer(feeds)

    sessions = [FakeSession(wait), FakeSession(wait)]
    pool, lanes = SessionPool(sessions), Lanes(2)
    list(lanes.run(pool, GROUPS[:2], feeds, Stopwatch()))
    lanes.close()
    assert [len(session.shapes) for session in sessions] == [1, 1]
    assert pool.info().providers == ("Fake",)
    pool.close()
    assert [session.closed for session in sessions] == [1, 1]


def test_a_failed_run_gives_its_session_back():
    def fail(feeds):
        raise OnyxrankError("broken")

    pool = SessionPool([FakeSession(fail)])
    for _ in range(3):
        with pytest.raises(OnyxrankError, match="broken"):
            pool.run(feeds(GROUPS[0]))
