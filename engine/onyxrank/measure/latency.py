"""How long several ways of doing one thing take, measured side by side.

1. A round runs every way once, in an order that changes from round to round: what disturbs the machine disturbs
   all ways alike, and no way always follows the same other.
2. Before each run the process rests a moment, outside the measurement: threads of one library that still spin
   would otherwise take the CPU from the next.
3. A round is begun while there are fewer than `repeats` of them and the slowest so far would still fit in the time
   budget (seconds of wall time, warm-up included); the first `least` rounds always run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from onyxrank.checks import check_count
from onyxrank.errors import InvalidInput

REST_S = 0.02
"""Longer than onyxrank's and PyTorch's idle threads spin."""
TELLS_P99 = 100
"""Runs from which a 99th percentile can be told; of fewer it is little more than the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What one request took, over all repeats; with few of them the high percentiles say no more than `max_ms`.

    Attributes:
        p50_ms: median; this and the other percentiles in milliseconds, interpolated between repeats.
        p90_ms: as `p50_ms`, and so are the next two.
        p95_ms: 1 of 20 is slower.
        p99_ms: 1 of 100 is slower.
        max_ms: the slowest.
        mean_ms: the mean.
        repeats: how many were measured.
        items_per_s: items ranked per second at the median.

    """

    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    repeats: int
    items_per_s: float

    def to_json(self) -> dict[str, float]:
        """Plain values, rounded to what a clock can tell."""
        return {name: value if name == "repeats" else round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured of one way.

    Attributes:
        seconds: wall time of each repeat, in the order of the rounds.

    """

    seconds: tuple[float, ...]

    def latency(self, items: int, times: int = 1) -> Latency:
        """Sum the repeats up.

        Args:
            items: items of the request that was run.
            times: for how many such requests, one after the other, the figure is to stand.

        Raises:
            InvalidInput: if there are no repeats.

        """
        if not self.seconds:
            raise InvalidInput("nothing was measured", field="seconds")
        milliseconds = np.array(self.seconds) * 1000 * times
        p50, p90, p95, p99 = np.percentile(milliseconds, [50, 90, 95, 99]).tolist()
        return Latency(
            p50_ms=p50,
            p90_ms=p90,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=float(milliseconds.max()),
            mean_ms=float(milliseconds.mean()),
            repeats=len(self.seconds),
            items_per_s=items * times / p50 * 1000 if p50 > 0 else 0.0,
        )


def interleave(
    ways: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    budget_s: float,
    warmup: int = 1,
    least: int = 1,
    rest_s: float = REST_S,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Samples]:
    """Measure ways in turn.

    Args:
        ways: what to run, by name.
        repeats: most rounds.
        budget_s: seconds after which no further round is begun.
        warmup: runs of each way before the first round, not measured.
        least: rounds that run whatever the budget.
        rest_s: seconds of rest before each measured run.
        clock: gives seconds.
        sleep: waits that many seconds.

    Returns:
        The samples of each way, all of the same number.

    Raises:
        InvalidInput: if `repeats` or `least` is not at least 1.

    """
    check_count(repeats, "repeats")
    check_count(least, "least")
    begun = clock()
    for _ in range(warmup):
        for run in ways.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    slowest = 0.0
    for number in range(repeats):
        start = clock()
        if number >= least and start - begun + slowest > budget_s:
            break
        for name in random.Random(number).sample(list(ways), len(ways)):
            sleep(rest_s)
            before = clock()
            ways[name]()
            seconds[name].append(clock() - before)
        slowest = max(slowest, clock() - start)
    return {name: Samples(tuple(measured)) for name, measured in seconds.items()}
