from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_fakes import FakeSession

from onyxrank import OnyxrankError
from onyxrank.sessions.pool import SessionPool

FEEDS = {"input_ids": np.array([[1], [2]])}


def test_a_pool_uses_free_sessions_and_closes_all():
    both = threading.Barrier(2, timeout=10)

    def wait(feeds):
        both.wait()  # breaks unless another run is there at the same time
        return feeds["input_ids"].astype(np.float32)

    sessions = [FakeSession(wait), FakeSession(wait)]
    pool = SessionPool(sessions)
    with ThreadPoolExecutor(2) as callers:
        assert [output.tolist() for [output] in callers.map(pool.run, [FEEDS, FEEDS])] == [[[1], [2]]] * 2
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
            pool.run(FEEDS)
