"""What this machine gives the process: CPUs it may use and instruction sets it has.

1. The CPUs are those of the affinity mask, not those of the host.
2. A container's quota lowers that: cgroup v2 ``cpu.max`` or v1 ``cpu.cfs_quota_us``, the tightest of the
   process's group and all its parents, rounded up (a quota of 1.5 CPUs keeps two threads busy).
3. Two CPUs can be two threads of one core; which are, Linux tells under ``/sys/devices/system/cpu``.
4. Instruction sets come from ``/proc/cpuinfo`` where there is one.
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

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_OF_SELF = Path("/proc/self/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_CPUS = Path("/sys/devices/system/cpu")
_ARM64_NAMES = ("aarch64", "arm64")
_NUMBERS = ("cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part", "CPU revision")
"""What tells processors apart in ``/proc/cpuinfo``: of x86, then of ARM."""


def usable_cpus() -> int:
    """CPUs this process may keep busy: affinity and container quota, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return limit_cpus(allowed, cgroup_quota(_read(_CGROUP_OF_SELF), _CGROUP_ROOT))


def usable_cores(cpus: Path = _CPUS) -> int:
    """Cores behind those CPUs, at least 1; as many as CPUs where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return usable_cpus()
    siblings = [_read(cpus / f"cpu{number}/topology/thread_siblings_list") for number in os.sched_getaffinity(0)]
    return min(usable_cpus(), len(set(siblings))) if all(siblings) else usable_cpus()


def limit_cpus(allowed: int, quota: float | None) -> int:
    """Whole CPUs under a quota in CPUs (None: no quota), at least 1."""
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def cgroup_quota(membership: str, root: Path) -> float | None:
    """Find the tightest CPU quota on a process, in CPUs, or None.

    Args:
        membership: text of ``/proc/<pid>/cgroup``.
        root: where the cgroup file systems are mounted.

    """
    quotas = []
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            # Beside v1 hierarchies, v2 is mounted in a folder of its own.
            for mount in (root, root / "unified"):
                quotas += [_quota_v2(folder) for folder in _upwards(mount, group)]
        elif "cpu" in controllers.split(","):
            for mount in (root / "cpu", root / controllers):
                quotas += [_quota_v1(folder) for folder in _upwards(mount, group)]
    return min((quota for quota in quotas if quota is not None), default=None)


def instruction_sets(cpuinfo: str | None = None) -> frozenset[str]:
    """Names of the CPU's instruction sets as Linux spells them; empty where there is no ``/proc/cpuinfo``.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``; this machine's by default.

    """
    text = _read(_CPUINFO) if cpuinfo is None else cpuinfo
    return frozenset((_field(text, "flags") or _field(text, "Features") or "").split())


BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Instruction sets of x86 and ARM that compute in bfloat16; without one it is emulated, slower than fp32."""


def has_bf16() -> bool:
    """Whether the CPU computes in bfloat16; taken for granted where the system does not tell."""
    sets = instruction_sets()
    return not sets or bool(sets & BF16)


def machine_family(flags: frozenset[str] | None = None, machine: str | None = None) -> MachineFamily:
    """Name the family a quantized variant is made for.

    Args:
        flags: instruction sets; this machine's by default.
        machine: architecture as ``platform.machine`` names it; this machine's by default.

    """
    flags = instruction_sets() if flags is None else flags
    if (platform.machine() if machine is None else machine).lower() in _ARM64_NAMES:
        return "arm64"
    # AVX-VNNI is the same product on 256-bit registers: like AVX-512 VNNI it adds up in 32 bits, so
    # onnxruntime's uint8 x int8 kernels do not saturate there; a variant gated on one holds on both.
    if flags & {"avx512_vnni", "avx_vnni"}:
        return "avx512_vnni"
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if "avx2" in flags else "other"


def cpu_name(cpuinfo: str | None = None) -> str:
    """The CPU's model with its family and numbers: virtual machines often show no more than a brand as the model."""
    text = _read(_CPUINFO) if cpuinfo is None else cpuinfo
    model = _field(text, "model name") or _darwin_brand() or platform.processor() or platform.machine()
    numbers = [f"{name} {value}" for name in _NUMBERS if (value := _field(text, name))]
    return ", ".join([model, *numbers])


def _darwin_brand() -> str:
    """The processor's name on a Mac, such as "Apple M3"; empty elsewhere."""
    if platform.system() != "Darwin":
        return ""
    command = ("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def describe() -> dict[str, object]:
    """Facts of this machine for reports: JSON values only."""
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
    """List the group's folder and every parent up to the mount point.

    Inside a container the path may be the host's and absent here; the walk still ends at the mount point,
    which is then the container's own group.
    """
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _quota_v2(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    return _ratio([*_read(folder / "cpu.cfs_quota_us").split(), *_read(folder / "cpu.cfs_period_us").split()])


def _ratio(fields: list[str]) -> float | None:
    """Quota over period; None for "max" and -1, which say that there is no quota."""
    if len(fields) != 2 or not all(field.isdecimal() for field in fields) or int(fields[1]) == 0:
        return None
    return int(fields[0]) / int(fields[1])


def _field(text: str, name: str) -> str | None:
    """Value of the first ``name : value`` line."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return None


def _read(path: Path) -> str:
    """Read a text file; empty where this system does not have or show it, which is an answer, not a fault."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
