"""Reads how much memory this process holds now, and how much it has held at most.

Linux keeps the peak in ``/proc/self/status`` and lets a process set it back to what it holds now. On other systems
``getrusage`` tells the peak since the process began, and nothing sets it back.
"""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""What Linux expects in ``clear_refs`` to set the peak back."""


def current_bytes(status: Path = _STATUS) -> int | None:
    """Return the resident bytes of this process now; None where the system does not tell."""
    return _kibibytes(status, "VmRSS")


def peak_bytes(status: Path = _STATUS) -> int | None:
    """Return the most resident bytes that this process has had; None where the system does not tell.

    They count from the last time that `reset_peak` worked, or else from the start of the process.
    """
    peak = _kibibytes(status, "VmHWM")
    return _usage_peak() if peak is None else peak


def reset_peak(clear_refs: Path = _CLEAR_REFS) -> bool:
    """Set the peak back to what is resident now, and return whether the system did so."""
    try:
        clear_refs.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _kibibytes(status: Path, field: str) -> int | None:
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return None


def _usage_peak() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
