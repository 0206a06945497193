from __future__ import annotations

import itertools
import threading

import pytest

from onyxrank.measure.throughput import measure_throughput


def test_callers_ask_at_once_and_all_answers_count():
    together = threading.Barrier(3, timeout=60)
    ticks = itertools.count()
    measured = measure_throughput(together.wait, items=10, callers=3, seconds=4, clock=lambda: float(next(ticks)))
    assert measured.to_json() == {"callers": 3, "requests": 6, "items_per_s": round(60 / 7, 1)}


def test_a_request_longer_than_the_time_counts_whole():
    now = [0.0]

    def rank():
        now[0] += 4.0

    measured = measure_throughput(rank, items=10, callers=1, seconds=0.5, clock=lambda: now[0])
    assert (measured.requests, measured.items_per_s) == (1, 2.5)


def test_what_fails_is_told():
    with pytest.raises(ZeroDivisionError):
        measure_throughput(lambda: 1 / 0, items=1, callers=2, seconds=0.1)
