"""Keeps freed memory in the process while it trains, so that the next step's tensors need no new pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onyxrank.machine.c_library import c_library, give_memory_back

# Parameters of glibc's mallopt, by their numbers in malloc.h; and the largest values that glibc itself would set.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_USUAL = {_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_NEVER = 2**31 - 1


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library keep freed memory for a while.

    A training step on a CPU allocates and frees tensors of tens of megabytes. glibc maps each of them anew and gives
    it back to the kernel, which zeroes it again page by page: a sixth of a step's time (benchmarks/NOTES.md). Under
    another C library nothing is done.
    """
    library = c_library()
    if not hasattr(library, "mallopt"):
        yield
        return
    for parameter in _USUAL:
        library.mallopt(parameter, _NEVER)
    try:
        yield
    finally:
        for parameter, value in _USUAL.items():
            library.mallopt(parameter, value)
        give_memory_back()
