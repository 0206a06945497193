from __future__ import annotations

import subprocess
import sys

import pytest

from onyxrank.measure import memory

STATUS = "Name:\tpython\nVmPeak:\t 900 kB\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\n"


@pytest.fixture
def status(tmp_path):
    path = tmp_path / "status"
    path.write_text(STATUS)
    return path


def test_linux_status(status):
    assert memory.peak_bytes(status) == 300 * 1024
    assert memory.current_bytes(status) == 200 * 1024


def test_without_a_status_file_the_peak_comes_from_getrusage(tmp_path):
    assert memory.current_bytes(tmp_path / "none") is None
    assert memory.peak_bytes(tmp_path / "none") > 1024 * 1024


def test_reset_says_whether_it_worked(tmp_path):
    assert not memory.reset_peak(tmp_path / "no" / "clear_refs")
    assert memory.reset_peak(tmp_path / "clear_refs")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets the peak back")
def test_the_peak_follows_an_allocation_and_can_be_set_back():
    code = (
        "from onyxrank.measure.memory import current_bytes, peak_bytes, reset_peak\n"
        "size = 64 << 20\n"
        "before = peak_bytes()\n"
        "block = b'x' * size\n"
        "assert peak_bytes() - before > size * 0.9\n"
        "del block\n"
        "if reset_peak():\n"
        "    assert peak_bytes() - current_bytes() < size * 0.5\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
