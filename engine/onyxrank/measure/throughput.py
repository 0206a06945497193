"""What a way answers when several callers ask at once, each again as soon as it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Answers to callers at once.

    Attributes:
        callers: how many asked.
        requests: that were answered.
        items_per_s: items ranked per second, of all callers together.

    """

    callers: int
    requests: int
    items_per_s: float

    def to_json(self) -> dict[str, float]:
        """JSON values."""
        return asdict(self) | {"items_per_s": round(self.items_per_s, 1)}


def measure_throughput(
    rank: Callable[[], object],
    *,
    items: int,
    callers: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Throughput:
    """Let callers ask for a while; each is answered once at least.

    Args:
        rank: ranks a request; called on many threads.
        items: of the request.
        callers: how many ask at once.
        seconds: after which none asks again.
        clock: gives seconds.

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
