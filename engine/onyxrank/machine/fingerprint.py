"""The fingerprint of a machine: the facts that decide how fast a graph runs there.

Two machines with equal fingerprints are expected to have the same fastest setting, so that a profile measured on one
holds on the other. A newer onnxruntime brings other kernels, and a newer onyxrank may use them differently, so their
versions are among the facts. Nothing in a fingerprint tells one of several equal machines from the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from onyxrank.machine.cpus import cpu_name, instruction_sets, usable_cores, usable_cpus

Fingerprint = Mapping[str, object]
"""JSON values by name; the keys are those of `machine_fingerprint`."""

PROFILE_FOLDER = "profiles"
"""Folder of a bundle for what was found on one machine or made for it, in files named by its fingerprint."""

_RUNTIMES = ("onyxrank", "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-ep-openvino")
"""Packages whose version decides which kernels run."""
_DECISIVE_SETS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"),
)
"""Instruction sets, of x86 and then of ARM, for which onnxruntime or OpenVINO has kernels of their own."""
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def machine_fingerprint() -> dict[str, object]:
    """Collect the facts of this machine and the versions of onyxrank and onnxruntime that are installed on it."""
    sets = instruction_sets()
    return {
        "cpu": cpu_name(),
        "cpus": usable_cpus(),
        "cores": usable_cores(),
        "instruction_sets": [name for name in _DECISIVE_SETS if name in sets],
        "accelerators": accelerators(),
        "runtimes": installed_versions(_RUNTIMES),
    }


def accelerators(nvidia: Path = _NVIDIA) -> list[str]:
    """Name the NVIDIA GPUs that the driver shows, in its order.

    Args:
        nvidia: the folder in which the driver describes its GPUs.

    """
    names = []
    for card in sorted(nvidia.glob("*/information")):
        lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return names


def digest(fingerprint: Fingerprint) -> str:
    """Hash a fingerprint to 16 hexadecimal digits, which name the files that belong to it."""
    text = json.dumps(fingerprint, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(there: Fingerprint, here: Fingerprint) -> str:
    """Say in words what differs between the fingerprint of another machine and of this one; empty if nothing does."""
    return "; ".join(
        f"{name} {_shown(there.get(name))} there, {_shown(here.get(name))} here"
        for name in dict.fromkeys((*there, *here))
        if there.get(name) != here.get(name)
    )


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed, by name; the others are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
