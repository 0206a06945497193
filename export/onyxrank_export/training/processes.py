"""Several processes of one training, one a GPU, as torchrun starts them.

The library's Trainer shares out batches and averages gradients. What is written once, a run folder and what lies in
it, is the first process's; the others wait for it. Light to import.
"""

from __future__ import annotations

import os


def count() -> int:
    """How many there are; 1 where torchrun has started none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Go on when every process has come here. The Trainer must have connected them."""
    if count() > 1:
        from torch import distributed

        distributed.barrier()
