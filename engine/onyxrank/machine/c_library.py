"""Three things that only the C library can do."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from typing import Any

_FENV_BYTES, _MXCSR = 32, 28
"""fenv_t of x86-64, in glibc and musl: its size, and where the control word of SSE stands in it."""
_FLUSH_TO_ZERO, _DENORMALS_ARE_ZERO = 1 << 15, 1 << 6


@functools.cache
def exit_early_when_forked() -> None:
    """From now on, leave out the C library's exit handlers in processes forked from this one.

    When a process ends, onnxruntime destroys what its threads share, and in a forked one waits for threads that
    stayed in the other: it hangs in an exit handler (seen with 1.32 on Linux). Nothing can be run there anyway, see
    `_leases`; but a worker of gunicorn, say, must still end, with its own status. Python's own handlers, flushing
    included, have run by then. Where the C library has no `on_exit`, nothing is done.
    """
    library = c_library()
    if hasattr(library, "on_exit"):
        os.register_at_fork(after_in_child=lambda: library.on_exit(library._exit, None))


def give_memory_back() -> None:
    """Give freed memory back to the system, where the C library would keep it.

    glibc keeps it in the arenas of threads that have ended: a process that changed its model 30 times held 580 to 750
    MiB, and with this 190 to 270, as after the first (benchmarks/reload.py). Elsewhere nothing is done.
    """
    library = c_library()
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def flush_denormals() -> bool:
    """Let the calling thread compute with zeros instead of denormals, as `session.set_denormal_as_zero` should.

    onnxruntime sets that mode for the threads of its own pool, and once in a process for the thread that made the
    first session. The thread that calls `run` computes too, and alone where a session has one thread.

    Returns:
        Whether it was done: on Linux and x86-64, where onnxruntime knows the mode.

    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    library, state = c_library(), ctypes.create_string_buffer(_FENV_BYTES)
    if not hasattr(library, "fegetenv") or library.fegetenv(state) != 0:
        return False
    control = ctypes.c_uint32.from_buffer(state, _MXCSR)
    control.value |= _FLUSH_TO_ZERO | _DENORMALS_ARE_ZERO
    return bool(library.fesetenv(state) == 0)


def c_library() -> Any:
    """The process's C library, or None where it cannot be asked; what it lacks is for the caller to check."""
    return ctypes.CDLL(None) if os.name == "posix" else None
