"""One loaded model, and the way of a request through it: checked, encoded, queued and scored, ranked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.readout import Readout
from onyxrank.errors import InvalidInput
from onyxrank.machine.c_library import give_memory_back
from onyxrank.machine.cpus import usable_cpus
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.items import History, Item, Items, to_events, to_items
from onyxrank.request.ranking import Ranking, to_hits
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest
from onyxrank.scheduling.deadlines import moment
from onyxrank.scheduling.scheduler import Scheduler
from onyxrank.scheduling.waiting import Margins

_READ_AT_ONCE = 5_000
"""Characters tokenized on the event loop itself, in about half a millisecond: as long as a thread takes to answer."""
_EMPTY_HISTORY_TOKENS = 2  # [CLS] [SEP]


@dataclass(frozen=True, eq=False)
class Engine:
    """The running parts of a ranker. Safe to share between threads and event loops.

    Attributes:
        encoder: makes token ids of texts.
        scheduler: makes margins of token ids, for any number of threads.
        facts: what was chosen and why, as JSON values.

    """

    encoder: TextEncoder
    scheduler: Scheduler
    facts: dict[str, object]

    @property
    def readout(self) -> Readout:
        """What makes probabilities of this model's margins."""
        return self.scheduler.architecture.readout

    @cached_property
    def readers(self) -> ThreadPoolExecutor:
        """Threads that tokenize for event loops; they start when they are needed, and end with the engine."""
        return ThreadPoolExecutor(max(2, usable_cpus()), thread_name_prefix="onyxrank-reader")

    def encode(self, history: Sequence[str] | EncodedHistory, items: Items) -> EncodedRequest:
        """Check items and tokenize them with a checked history.

        Raises:
            InvalidInput: naming the item's index and field.

        """
        return self.encoder.encode(history, to_items(items))

    def encode_pairs(self, requests: Iterable[object]) -> list[EncodedRequest]:
        """Check and tokenize pairs of history and items.

        Raises:
            InvalidInput: naming the request, and the item's index and field.

        """
        return [self._encode_pair(number, request) for number, request in enumerate(requests)]

    def score(
        self, read: Callable[[], list[EncodedRequest]], watch: Stopwatch, deadline: float | None
    ) -> tuple[list[EncodedRequest], Margins]:
        """Read requests and score them, on the caller's thread.

        Args:
            read: checks and tokenizes them.
            watch: where to add the seconds of each stage.
            deadline: seconds from now after which the answer is of no use; None for never.

        Raises:
            OnyxrankError: as `Ranker.rank`.

        """
        due = moment(deadline, self.scheduler.clock)
        with watch.stage("tokenize"):
            requests = read()
        return requests, self.scheduler.score(requests, watch, due)

    async def ascore(
        self, history: History, items: Items, watch: Stopwatch, deadline: float | None
    ) -> tuple[list[EncodedRequest], Margins]:
        """Check, tokenize and score one request, for an event loop; as `score`."""
        due = moment(deadline, self.scheduler.clock)
        self.scheduler.check_room()  # before work is spent on what would be refused
        began = time.perf_counter()
        events, checked = to_events(history), to_items(items)
        if _characters(events, checked) <= _READ_AT_ONCE:
            request = self.encoder.encode(events, checked)
        else:
            loop = asyncio.get_running_loop()
            request = await loop.run_in_executor(self.readers, self.encoder.encode, events, checked)
        watch.add("tokenize", time.perf_counter() - began)
        return [request], await self.scheduler.answer(self.scheduler.submit([request], watch, due))

    def rankings(
        self, requests: Sequence[EncodedRequest], margins: Margins, top_k: int | None, watch: Stopwatch
    ) -> list[Ranking]:
        """Sort the items of requests by their margins."""
        with watch.stage("rank"):
            hits = [
                to_hits(request.candidates, row, self.readout.probabilities(row), top_k)
                for request, row in zip(requests, margins, strict=True)
            ]
        timings = watch.read()
        return [
            Ranking(
                hits=found,
                total=len(request.candidates),
                cuts=request.cuts,
                cold_start=len(request.history) == _EMPTY_HISTORY_TOKENS,
                tokens=len(request.history) + len(request.items.ids),
                timings=timings,
            )
            for request, found in zip(requests, hits, strict=True)
        ]

    def probabilities(self, margins: Margins) -> list[NDArray[np.float32]]:
        """Purchase probabilities of each request's items, float32 [items] in input order."""
        return [self.readout.probabilities(row) for row in margins]

    def stop(self) -> None:
        """Let the threads end once the queue is empty, without waiting for them."""
        self.scheduler.stop()

    def close(self) -> None:
        """Finish what is in the queue and free everything."""
        self.scheduler.close()
        self.readers.shutdown()
        give_memory_back()

    def _encode_pair(self, number: int, request: object) -> EncodedRequest:
        if not isinstance(request, tuple | list) or len(request) != 2:
            raise InvalidInput(
                f"requests[{number}] must be a pair of history and items", field="requests", index=number
            )
        history, items = request
        try:
            return self.encode(to_events(history), items)
        except InvalidInput as error:
            raise InvalidInput(f"requests[{number}]: {error}", field=error.field, index=error.index) from error


def _characters(events: Sequence[str], items: Sequence[Item]) -> int:
    return sum(map(len, events)) + sum(len(item.title) + len(item.description) for item in items)
