from __future__ import annotations

import pytest

from onyxrank.measure import load
from onyxrank.measure.load import CpuTimes, is_crowded, other_cpus


def test_what_others_used_is_all_that_was_busy_but_our_own():
    before, after = CpuTimes(10.0, 1.0, 100.0), CpuTimes(20.0, 9.0, 125.0)
    assert other_cpus(before, after) == pytest.approx(1.7)


def test_the_coarse_ticks_of_the_system_never_give_less_than_nothing():
    assert other_cpus(CpuTimes(0.0, 0.0, 5.0), CpuTimes(1.0, 1.02, 6.0)) == 0.0


@pytest.mark.parametrize("missing", ["before", "after", "no-time"])
def test_unknown_stays_unknown(missing):
    before = CpuTimes(0.0, 0.0, None if missing == "before" else 1.0)
    after = CpuTimes(0.0 if missing == "no-time" else 1.0, 0.0, None if missing == "after" else 2.0)
    assert other_cpus(before, after) is None


@pytest.mark.parametrize(
    ("others", "threads", "cpus", "crowded"),
    [
        pytest.param(0.1, 2, 2, False, id="idle"),
        pytest.param(0.3, 2, 2, True, id="all-cpus-needed"),
        pytest.param(1.5, 2, 4, False, id="room-for-both"),
        pytest.param(2.5, 2, 4, True, id="too-much"),
        pytest.param(0.1, 4, 2, False, id="more-threads-than-cpus"),
        pytest.param(None, 2, 2, False, id="unknown"),
    ],
)
def test_crowded_is_when_others_took_what_the_threads_needed(others, threads, cpus, crowded):
    assert is_crowded(others, threads, cpus) is crowded


def test_busy_time_leaves_idle_iowait_and_guests_out(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 9999 8888 1 2 47 500 600\ncpu0 1 1 1 1\n")
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)
    assert CpuTimes.now(stat).busy_s == pytest.approx(2.0)


@pytest.mark.parametrize("text", [None, "", "cpu a b c\n"], ids=["missing", "empty", "damaged"])
def test_a_system_that_does_not_tell(tmp_path, text):
    stat = tmp_path / "stat"
    if text is not None:
        stat.write_text(text)
    assert CpuTimes.now(stat).busy_s is None
