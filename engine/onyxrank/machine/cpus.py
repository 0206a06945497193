"""Finds out how many CPUs the process may use, and which instruction sets they have.

1. The process may use the CPUs of its affinity mask, which can be fewer than the host has.
2. A container's quota lowers that number: cgroup v2 ``cpu.max`` or v1 ``cpu.cfs_quota_us``. The tightest quota of the
   process's group and of all its parents counts, and is rounded up (a quota of 1.5 CPUs keeps two threads busy).
3. Two CPUs can be two hardware threads of one core. Linux tells under ``/sys/devices/system/cpu`` which ones are.
4. Instruction sets are read from ``/proc/cpuinfo`` where that exists.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

MachineFamily = Literal["avx512_vnni", "avx512", "avx2", "arm64", "other"]
"""Kinds of processors that run a quantized graph with the same kernels; a variant names those it was made for."""

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_OF_SELF = Path("/proc/self/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_CPUS = Path("/sys/devices/system/cpu")
_ARM64_NAMES = ("aarch64", "arm64")
_MODEL_FIELDS = ("cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part", "CPU revision")
"""Fields of ``/proc/cpuinfo`` that tell processor models apart: the first three on x86, the others on ARM."""


def usable_cpus() -> int:
    """Count the CPUs that this process may keep busy under its affinity mask and container quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return limit_cpus(allowed, cgroup_quota(_read(_CGROUP_OF_SELF), _CGROUP_ROOT))


def usable_cores(cpus: Path = _CPUS) -> int:
    """Count the cores that the usable CPUs belong to, at least 1.

    Where the system does not tell which CPUs share a core, every CPU counts as a core of its own.

    Args:
        cpus: the folder in which Linux describes its CPUs.

    """
    if not hasattr(os, "sched_getaffinity"):
        return usable_cpus()
    siblings = [_read(cpus / f"cpu{number}/topology/thread_siblings_list") for number in os.sched_getaffinity(0)]
    return min(usable_cpus(), len(set(siblings))) if all(siblings) else usable_cpus()


def limit_cpus(allowed: int, quota: float | None) -> int:
    """Lower a number of CPUs to what a quota allows, in whole CPUs and at least 1.

    Args:
        allowed: CPUs of the affinity mask.
        quota: the container's quota in CPUs, or None if it has none.

    """
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def cgroup_quota(membership: str, root: Path) -> float | None:
    """Find the tightest quota that the process's groups put on it, in CPUs; None if there is no quota.

    Args:
        membership: text of ``/proc/<pid>/cgroup``.
        root: where the cgroup file systems are mounted.

    """
    quotas = []
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            # Where v1 is in use too, v2 is mounted in the folder "unified" beside the folders of v1's controllers.
            for mount in (root, root / "unified"):
                quotas += [_quota_v2(folder) for folder in _upwards(mount, group)]
        elif "cpu" in controllers.split(","):
            for mount in (root / "cpu", root / controllers):
                quotas += [_quota_v1(folder) for folder in _upwards(mount, group)]
    return min((quota for quota in quotas if quota is not None), default=None)


def instruction_sets(cpuinfo: str | None = None) -> frozenset[str]:
    """Name the CPU's instruction sets as Linux spells them; the set is empty where there is no ``/proc/cpuinfo``.

    Args:
        cpuinfo: text to read instead of this machine's ``/proc/cpuinfo``.

    """
    text = _read(_CPUINFO) if cpuinfo is None else cpuinfo
    return frozenset((_field(text, "flags") or _field(text, "Features") or "").split())


BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instruction sets of x86 and ARM that compute in bfloat16.

A CPU with none of them emulates it, which is slower than fp32.
"""


def has_bf16() -> bool:
    """Say whether the CPU computes in bfloat16; it is assumed to where the system does not list instruction sets."""
    sets = instruction_sets()
    return not sets or bool(sets & BF16)


def machine_family(flags: frozenset[str] | None = None, machine: str | None = None) -> MachineFamily:
    """Name the family that a processor belongs to.

    Args:
        flags: the processor's instruction sets; this machine's by default.
        machine: the processor's architecture as ``platform.machine`` names it; this machine's by default.

    """
    flags = instruction_sets() if flags is None else flags
    if (platform.machine() if machine is None else machine).lower() in _ARM64_NAMES:
        return "arm64"
    # AVX-VNNI is the same multiply-and-add as AVX-512 VNNI on 256-bit registers. Both add up in 32 bits, so that
    # onnxruntime's uint8 x int8 kernels saturate on neither, and a variant gated on one of them holds on both.
    if flags & {"avx512_vnni", "avx_vnni"}:
        return "avx512_vnni"
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if "avx2" in flags else "other"


def cpu_name(cpuinfo: str | None = None) -> str:
    """Name the CPU by its brand and the numbers of its model, since virtual machines often show a bare brand."""
    text = _read(_CPUINFO) if cpuinfo is None else cpuinfo
    model = _field(text, "model name") or _darwin_brand() or platform.processor() or platform.machine()
    numbers = [f"{name} {value}" for name in _MODEL_FIELDS if (value := _field(text, name))]
    return ", ".join([model, *numbers])


def _darwin_brand() -> str:
    """Ask a Mac for its processor's name, such as "Apple M3"; the answer is empty on other systems."""
    if platform.system() != "Darwin":
        return ""
    command = ("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def describe() -> dict[str, object]:
    """Collect the facts about this machine that a report states, as JSON values."""
    cpuinfo = _read(_CPUINFO)
    kib = (_field(_read(_MEMINFO), "MemTotal") or "").split()
    return {
        "cpu_model": cpu_name(cpuinfo),
        "cpus_usable": usable_cpus(),
        "cpus_host": os.cpu_count(),
        "machine_family": machine_family(),
        "memory_total_bytes": int(kib[0]) * 1024 if kib else None,
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """List a group's folder and all its parents, up to the mount point.

    Inside a container the group may be named by its path on the host, which does not exist here. The walk still ends
    at the mount point, which is then the folder of the container's own group.
    """
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _quota_v2(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    return _ratio([*_read(folder / "cpu.cfs_quota_us").split(), *_read(folder / "cpu.cfs_period_us").split()])


def _ratio(fields: list[str]) -> float | None:
    """Divide a quota by its period; None where the quota is "max" (v2) or -1 (v1), which mean that there is none."""
    if len(fields) != 2 or not all(field.isdecimal() for field in fields) or int(fields[1]) == 0:
        return None
    return int(fields[0]) / int(fields[1])


def _field(text: str, name: str) -> str | None:
    """Return the value of the first line ``name : value``, or None if there is no such line."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return None


def _read(path: Path) -> str:
    """Read a text file. It counts as empty where this system lacks or hides it: not every system has these files."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
