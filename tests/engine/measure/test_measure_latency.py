from __future__ import annotations

import pytest

from onyxrank import InvalidInput
from onyxrank.measure.latency import Samples, interleave


class Clock:
    """Time that passes only when something runs."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.log.append(("rest", seconds))

    def way(self, name, seconds):
        def run():
            self.log.append(name)
            self.now += seconds

        return run


def measure(clock, ways, **options):
    runs = {name: clock.way(name, seconds) for name, seconds in ways.items()}
    return interleave(runs, clock=clock, sleep=clock.sleep, **{"budget_s": 1e9, "repeats": 4, **options})


def ran(clock):
    return [entry for entry in clock.log if isinstance(entry, str)]


def test_every_round_runs_every_way_once():
    clock = Clock()
    samples = measure(clock, {"a": 1.0, "b": 2.0, "c": 3.0}, repeats=6, warmup=0)
    rounds = [ran(clock)[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1, "the order never changed"
    assert {name: sample.seconds for name, sample in samples.items()} == {
        "a": (1.0,) * 6,
        "b": (2.0,) * 6,
        "c": (3.0,) * 6,
    }


def test_the_warm_up_is_not_measured():
    clock = Clock()
    samples = measure(clock, {"a": 1.0}, repeats=2, warmup=3)
    assert ran(clock) == ["a"] * 5
    assert len(samples["a"].seconds) == 2


@pytest.mark.parametrize(
    ("budget", "warmup", "least", "rounds"),
    [
        pytest.param(9.0, 0, 1, 3, id="as-many-as-fit"),
        pytest.param(9.0, 1, 1, 2, id="the-warm-up-counts"),
        pytest.param(8.9, 0, 1, 2, id="none-that-would-not-fit"),
        pytest.param(0.0, 1, 1, 1, id="at-least-one"),
        pytest.param(0.0, 0, 3, 3, id="at-least-three"),
        pytest.param(1e9, 0, 1, 4, id="no-more-than-asked"),
    ],
)
def test_the_budget_ends_the_rounds(budget, warmup, least, rounds):
    samples = measure(Clock(), {"a": 1.0, "b": 2.0}, budget_s=budget, warmup=warmup, least=least)
    assert {len(sample.seconds) for sample in samples.values()} == {rounds}


def test_it_rests_before_each_measured_run():
    clock = Clock()
    measure(clock, {"a": 1.0}, repeats=2, warmup=1, rest_s=0.5)
    assert clock.log == ["a", ("rest", 0.5), "a", ("rest", 0.5), "a"]


def test_latency_of_samples():
    latency = Samples(tuple(number / 1000 for number in range(1, 102))).latency(items=10)
    assert (latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms) == pytest.approx((51, 91, 96, 100))
    assert (latency.max_ms, latency.mean_ms, latency.repeats) == (pytest.approx(101), pytest.approx(51), 101)
    assert latency.items_per_s == pytest.approx(10 / 0.051)


def test_a_figure_may_stand_for_several_requests():
    latency = Samples((0.2,)).latency(items=100, times=10)
    assert latency.p50_ms == pytest.approx(2000)
    assert latency.items_per_s == pytest.approx(500)


def test_latency_as_json_keeps_whole_numbers_whole():
    assert Samples((0.0012345678,)).latency(1).to_json() == {
        **{f"{name}_ms": 1.2346 for name in ("p50", "p90", "p95", "p99", "max", "mean")},
        "repeats": 1,
        "items_per_s": 810.0001,
    }


@pytest.mark.parametrize("options", [{"repeats": 0}, {"least": 0}], ids=["repeats", "least"])
def test_counts_are_checked(options):
    with pytest.raises(InvalidInput):
        measure(Clock(), {"a": 1.0}, **options)


def test_nothing_measured_is_an_error():
    with pytest.raises(InvalidInput, match="nothing was measured"):
        Samples(()).latency(1)
