"""Engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

from onyxrank.machine.c_library import give_memory_back
from onyxrank.machine.cpus import usable_cpus
from onyxrank.request.encoding import TextEncoder
from onyxrank.scheduling.scheduler import Scheduler


@dataclass(frozen=True, eq=False)
class Engine:
    """The running parts of a ranker.

    Attributes:
        encoder: texts to token ids.
        scheduler: token ids to probabilities, for any number of threads.
        facts: what was chosen and why, as JSON values.

    """

    encoder: TextEncoder
    scheduler: Scheduler
    facts: dict[str, object]

    @cached_property
    def readers(self) -> ThreadPoolExecutor:
        """Threads that tokenize for event loops; they start when they are needed, and end with the engine."""
        return ThreadPoolExecutor(max(2, usable_cpus()), thread_name_prefix="onyxrank-reader")

    def close(self) -> None:
        """Finish what is in the queue and free everything."""
        self.scheduler.close()
        self.readers.shutdown()
        give_memory_back()
