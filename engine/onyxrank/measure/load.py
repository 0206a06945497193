"""Measures how much of the machine other processes use, since figures from a busy machine compare nothing.

Such a load does not slow all ways alike. PyTorch's OpenMP threads wait for each other at the end of every operation,
and while one of them is off the CPU, the others spin. Beside a training on both of 2 cores a small model took 168 ms
in PyTorch with 2 threads. It took 3 ms with OMP_WAIT_POLICY=passive or with 1 thread, and 3 ms in ONNX Runtime with 2
threads. Speed-ups that are measured on a busy machine are therefore too high, and not merely noisy.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE_FIELDS = (3, 4)
"""Positions of the times ``idle`` and ``iowait`` in the first line of ``/proc/stat``."""
_TIME_FIELDS = 8
"""Number of times in that line that are added up, from ``user`` to ``steal``; guest times are in ``user`` already."""
_TOLERANCE = 0.1
"""CPUs that others may use for each thread that is measured with; services of an idle system use about as many."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """The CPU time that was used up to a moment.

    Attributes:
        wall_s: time of a steady clock, in seconds.
        own_s: CPU seconds that this process has used so far.
        busy_s: CPU seconds that all CPUs together have been busy so far, including time that other virtual machines
            stole; None where the system does not tell.

    """

    wall_s: float
    own_s: float
    busy_s: float | None

    @classmethod
    def now(cls, stat: Path = _STAT) -> CpuTimes:
        """Read the clocks now."""
        return cls(time.perf_counter(), time.process_time(), _busy_seconds(stat))


def other_cpus(before: CpuTimes, after: CpuTimes) -> float | None:
    """Return how many CPUs others kept busy on average between two moments; None where the system does not tell."""
    if before.busy_s is None or after.busy_s is None or after.wall_s <= before.wall_s:
        return None
    busy = after.busy_s - before.busy_s - (after.own_s - before.own_s)
    return max(0.0, busy / (after.wall_s - before.wall_s))


def is_crowded(others: float | None, threads: int, cpus: int | None = None) -> bool:
    """Say whether other processes used CPUs that the measured threads needed.

    Args:
        others: number of CPUs that others kept busy, from `other_cpus`; None counts as not crowded.
        threads: number of threads that were measured with.
        cpus: number of CPUs of the host, or None for this host's.

    """
    free = (cpus or os.cpu_count() or threads) - threads
    return others is not None and others > max(0, free) + _TOLERANCE * threads


def _busy_seconds(stat: Path) -> float | None:
    try:
        fields = stat.read_text(encoding="ascii").splitlines()[0].split()
        ticks = [int(field) for field in fields[1 : 1 + _TIME_FIELDS]]
        return sum(value for place, value in enumerate(ticks) if place not in _IDLE_FIELDS) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):  # other systems than Linux lack /proc or sysconf
        return None
