"""Whether other programs took the CPUs while the race ran."""

from __future__ import annotations

from dataclasses import dataclass, replace

import psutil

from onyxrank.measure.load import CpuTimes, is_crowded, other_cpus


@dataclass(frozen=True)
class Usage:
    """CPU seconds of the whole machine and of ours, the peers' processes included, at a moment."""

    machine: CpuTimes
    ours_s: float

    @classmethod
    def now(cls) -> Usage:
        """Read the clocks. The time of a peer that was closed counts too: its parent has it."""
        me = psutil.Process()
        times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
        own = (each.user + each.system + each.children_user + each.children_system for each in times)
        return cls(CpuTimes.now(), sum(own))


def crowded(before: Usage, after: Usage, threads: int) -> bool:
    """Say whether processes that are not of the race took CPUs that it needed."""
    start, end = (replace(each.machine, own_s=each.ours_s) for each in (before, after))
    return is_crowded(other_cpus(start, end), threads)
