"""Measures how much a way answers when several callers ask at once, each again as soon as it has its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """How much a way answered to several callers at once.

    Attributes:
        callers: number of callers.
        requests: number of requests that were answered.
        items_per_s: number of items ranked in a second for all callers together.

    """

    callers: int
    requests: int
    items_per_s: float

    def to_json(self) -> dict[str, float]:
        """Return the attributes as JSON values."""
        return asdict(self) | {"items_per_s": round(self.items_per_s, 1)}


def measure_throughput(
    rank: Callable[[], object],
    *,
    items: int,
    callers: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Throughput:
    """Let callers ask for a while. Each caller is answered at least once.

    Args:
        rank: function that ranks the request; it is called on as many threads as there are callers.
        items: number of items in the request.
        callers: number of callers that ask at once.
        seconds: seconds after which no caller asks again.
        clock: function that returns the time in seconds.

    """
    begun = clock()

    def ask() -> int:
        answered = 0
        while not answered or clock() - begun < seconds:
            rank()
            answered += 1
        return answered

    with ThreadPoolExecutor(callers) as pool:
        answered = sum(future.result() for future in [pool.submit(ask) for _ in range(callers)])
    return Throughput(callers=callers, requests=answered, items_per_s=answered * items / (clock() - begun))
