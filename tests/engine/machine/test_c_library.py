from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from onyxrank.machine import c_library
from onyxrank.machine.c_library import exit_early_when_forked, flush_denormals, give_memory_back
from onyxrank.measure.memory import current_bytes

FORKED = """
import atexit, os, sys
from onyxrank.machine.c_library import exit_early_when_forked
exit_early_when_forked()
atexit.register(print, "handled", flush=True)
if os.fork() == 0:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_ends_with_its_status_and_python_s_handlers():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["handled", "7", "handled"])


def test_freed_memory_goes_back():
    if not hasattr(ctypes.CDLL(None), "malloc_trim") or current_bytes() is None:
        pytest.skip("not glibc")
    before = current_bytes()
    held = [np.ones(10_000) for _ in range(2000)]  # below what the C library maps one by one
    kept = held[-1]
    assert current_bytes() - before > 100 * 2**20
    del held
    give_memory_back()
    assert current_bytes() - before < 40 * 2**20
    assert kept.sum() == 10_000


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(c_library, "c_library", lambda: object())
    give_memory_back()
    exit_early_when_forked.__wrapped__()
    assert not flush_denormals()


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="known on Linux and x86-64 only"
)
def test_denormals_are_flushed_on_the_thread_that_asks_and_no_other():
    def product():
        return float(np.float32(2e-39) * np.float32(0.5)), float(np.float32(2e-38) * np.float32(0.25))

    def flushed():
        assert flush_denormals()
        return product()

    with ThreadPoolExecutor(1) as other:
        assert other.submit(flushed).result() == (0.0, 0.0)
        assert min(product()) > 0
