"""Calls into the C library for what Python does not offer.

They end forked processes early, give freed memory back to the system, and set the floating-point mode of a thread.
Where the library lacks a function, nothing is done: each call makes things better, and none is needed for a result.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from typing import Any

_FENV_BYTES, _MXCSR_OFFSET = 32, 28
"""The size of ``fenv_t`` on x86-64, and the offset in it of MXCSR, the control word of SSE; glibc and musl agree."""
_FLUSH_TO_ZERO, _DENORMALS_ARE_ZERO = 1 << 15, 1 << 6
"""The bits of MXCSR that make a denormal result zero, and that read a denormal operand as zero."""


@functools.cache
def exit_early_when_forked() -> None:
    """Make every process that is forked from now on skip the C library's exit handlers when it ends.

    When a process ends, onnxruntime destroys what its threads share. A forked process has none of those threads, yet
    onnxruntime waits for them and so hangs in an exit handler (seen with 1.32 on Linux). A forked process cannot run
    the model anyway (`onyxrank.scheduling.leases`), but a worker of gunicorn, say, must still end, and with its own
    exit status. Python's own handlers, which also flush its files, have run by then. Where the C library has no
    `on_exit`, nothing is done.
    """
    library = c_library()
    if hasattr(library, "on_exit"):
        os.register_at_fork(after_in_child=lambda: library.on_exit(library._exit, None))


def give_memory_back() -> None:
    """Give freed memory back to the system where the C library would keep it.

    glibc keeps freed memory in the arenas of threads that have ended. A process that had reloaded its model 30 times
    held 580 to 750 MiB; with this call it held 190 to 270 MiB, as it did after its first load (benchmarks/reload.py).
    With other C libraries nothing is done.
    """
    library = c_library()
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def flush_denormals() -> bool:
    """Let the calling thread compute with zeros instead of denormals, which cost a processor many times as long.

    onnxruntime's option ``session.set_denormal_as_zero`` should do this, but it sets the mode only for the threads of
    its own pool, and once in a process for the thread that made the first session. The thread that calls `run`
    computes too, and it is the only one to do so where a session has one thread.

    Returns:
        Whether the mode was set. It is set on Linux and x86-64 only, where onnxruntime sets it too.

    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    library, state = c_library(), ctypes.create_string_buffer(_FENV_BYTES)
    if not hasattr(library, "fegetenv") or library.fegetenv(state) != 0:
        return False
    control = ctypes.c_uint32.from_buffer(state, _MXCSR_OFFSET)
    control.value |= _FLUSH_TO_ZERO | _DENORMALS_ARE_ZERO
    return bool(library.fesetenv(state) == 0)


def c_library() -> Any:
    """Open the C library of this process, or return None on systems where that cannot be done.

    Libraries differ in their functions, so a caller must check with `hasattr` for those that it needs.
    """
    return ctypes.CDLL(None) if os.name == "posix" else None
