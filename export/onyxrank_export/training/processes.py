"""The processes of one training, as torchrun starts them: one for each GPU.

The library's Trainer shares out batches and averages gradients. The run folder is written by the first process alone;
the others wait for it. The module imports torch only where processes wait.
"""

from __future__ import annotations

import os


def count() -> int:
    """How many processes there are; 1 where torchrun has started none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the first, which writes the run folder."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Wait until every process has come here. The Trainer must have connected them."""
    if count() > 1:
        from torch import distributed

        distributed.barrier()
