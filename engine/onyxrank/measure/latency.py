"""Measures how long several ways of doing the same thing take, side by side.

1. A round runs every way once, in an order that changes from round to round. So what disturbs the machine disturbs
   all ways alike, and no way always runs after the same other one.
2. Before each run the process rests a moment, outside the measured time, since threads of one library that still spin
   would otherwise take the CPU from the next way.
3. Another round is begun while there were fewer than `repeats` of them and one as slow as the slowest so far would
   still fit into the budget (seconds of wall time, warm-up included). The first `least` rounds run in any case.
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
"""Seconds of rest before each run; idle threads of onyxrank and of PyTorch spin for less time than that."""
TELLS_P99 = 100
"""Runs that it takes to tell a 99th percentile; with fewer it is little more than the longest run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one request took, summed up over all repeats.

    Percentiles are interpolated between repeats. With few repeats the high ones say no more than `max_ms`.

    Attributes:
        p50_ms: milliseconds within which half of the repeats were done: the median.
        p90_ms: milliseconds within which 9 of 10 repeats were done.
        p95_ms: milliseconds within which 19 of 20 repeats were done.
        p99_ms: milliseconds within which 99 of 100 repeats were done.
        max_ms: milliseconds that the slowest repeat took.
        mean_ms: milliseconds that a repeat took on average.
        repeats: number of measured repeats.
        items_per_s: number of items ranked in a second at the median speed.

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
        """Return the attributes as JSON values, rounded to what a clock can tell."""
        return {name: value if name == "repeats" else round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Samples:
    """The measured repeats of one way.

    Attributes:
        seconds: wall time that each repeat took, in the order of the rounds.

    """

    seconds: tuple[float, ...]

    def latency(self, items: int, times: int = 1) -> Latency:
        """Sum the repeats up.

        Args:
            items: number of items in the request that was run.
            times: number of such requests, one after the other, for which the figures are to stand.

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
        ways: function that runs each way once, by the way's name.
        repeats: most rounds.
        budget_s: seconds after which no further round is begun.
        warmup: unmeasured runs of each way before the first round.
        least: number of rounds that run whatever the budget is.
        rest_s: seconds of rest before each measured run.
        clock: function that returns the time in seconds.
        sleep: function that waits a number of seconds.

    Returns:
        The samples of each way, by its name; all ways have the same number of repeats.

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
