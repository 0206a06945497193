"""How much of the machine other processes used meanwhile: figures taken on a busy machine compare nothing.

It does not hit all ways alike. PyTorch's OpenMP threads wait for each other at the end of every operation; when one
of them is off the CPU the others spin. Beside a training on both of 2 cores a small model took 168 ms in PyTorch with
2 threads, 3 ms with OMP_WAIT_POLICY=passive or with 1 thread, and 3 ms in ONNX Runtime with 2. Speed-ups measured on
a busy machine are therefore too high, not merely noisy.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE_FIELDS = (3, 4)  # idle, iowait
_TIME_FIELDS = 8  # up to steal; guest time is in user time already
_TOLERANCE = 0.1
"""CPUs per thread measured with that others may use: an idle system's own services."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """A moment.

    Attributes:
        wall_s: seconds of a steady clock.
        own_s: CPU seconds that this process has used.
        busy_s: CPU seconds that all CPUs have been busy, time stolen by other virtual machines included; None where
            the system does not tell.

    """

    wall_s: float
    own_s: float
    busy_s: float | None

    @classmethod
    def now(cls, stat: Path = _STAT) -> CpuTimes:
        """Read the clocks."""
        return cls(time.perf_counter(), time.process_time(), _busy_seconds(stat))


def other_cpus(before: CpuTimes, after: CpuTimes) -> float | None:
    """CPUs that others kept busy on average between two moments; None where the system does not tell."""
    if before.busy_s is None or after.busy_s is None or after.wall_s <= before.wall_s:
        return None
    busy = after.busy_s - before.busy_s - (after.own_s - before.own_s)
    return max(0.0, busy / (after.wall_s - before.wall_s))


def is_crowded(others: float | None, threads: int, cpus: int | None = None) -> bool:
    """Whether others used CPUs that the threads needed.

    Args:
        others: from `other_cpus`; None counts as not crowded.
        threads: measured with.
        cpus: of the host; by default of this one.

    """
    free = (cpus or os.cpu_count() or threads) - threads
    return others is not None and others > max(0, free) + _TOLERANCE * threads


def _busy_seconds(stat: Path) -> float | None:
    try:
        fields = stat.read_text(encoding="ascii").splitlines()[0].split()
        ticks = [int(field) for field in fields[1 : 1 + _TIME_FIELDS]]
        return sum(value for place, value in enumerate(ticks) if place not in _IDLE_FIELDS) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):  # no /proc, or no sysconf: not Linux
        return None
