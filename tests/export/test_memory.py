from __future__ import annotations

import ctypes
import os
import resource

import pytest
import torch

from onyxrank_export.training.memory import kept_memory

PAGES = 48 * 2**20 // resource.getpagesize()


def faults_of_a_tensor():
    """Page faults while a tensor larger than what glibc ever keeps by itself is filled and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(PAGES * resource.getpagesize() // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(os.name != "posix" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_the_next_tensor_takes_the_memory_of_the_last():
    given_back = [faults_of_a_tensor() for _ in range(20)]
    if min(given_back) < PAGES / 20:
        pytest.skip("huge pages: faults do not tell")
    with kept_memory():
        kept = [faults_of_a_tensor() for _ in range(20)]
    assert sum(kept) < sum(given_back) / 2  # an aligned block does not always fit where the first ones were


def test_an_error_passes_through():
    with pytest.raises(ValueError, match="wrong"), kept_memory():
        raise ValueError("wrong")
