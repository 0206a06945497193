"""Lets a process that was forked from one with sessions end.

When a process ends, onnxruntime destroys what its threads share, and in a forked one waits for threads that stayed in
the other: it hangs in the C library's exit handlers (seen with 1.32 on Linux). Nothing can be run there anyway, see
`_leases`; but a worker of gunicorn, say, must still end, with its own status.
"""

from __future__ import annotations

import ctypes
import functools
import os


@functools.cache
def exit_early_when_forked() -> None:
    """From now on, leave out the C library's exit handlers in processes forked from this one.

    Python's own, flushing included, have run by then. Where the C library has no `on_exit`, nothing is done.
    """
    if os.name != "posix":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "on_exit"):
        os.register_at_fork(after_in_child=lambda: library.on_exit(library._exit, None))
