"""One loaded model, and the way of a request through it.

A request is checked and encoded, waits in the queue, is scored, and becomes a ranking.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

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
from onyxrank.request.unknown import count_unknown
from onyxrank.scheduling.deadlines import moment
from onyxrank.scheduling.scheduler import Scheduler
from onyxrank.scheduling.waiting import Margins, late

_INLINE_CHARACTERS = 5_000
"""Most characters of a request that is tokenized on the event loop itself.

That takes about half a millisecond, as long as handing the request to another thread and back.
"""
_CHARACTERS_PER_TOKEN = 4
"""Characters of a token, about, by which a request is charged while it is tokenized."""


def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(2, usable_cpus()), thread_name_prefix="onyxrank-reader")


@dataclass(frozen=True, eq=False)
class Engine:
    """The running parts of a ranker. Safe to share between threads and event loops.

    Attributes:
        encoder: makes token ids of texts.
        scheduler: makes margins of token ids, for any number of callers.
        facts: which setting was chosen and why, as JSON values.
        readers: the threads that tokenize for event loops; they start when they are needed, and end with the engine.

    """

    encoder: TextEncoder
    scheduler: Scheduler
    facts: dict[str, object]
    readers: ThreadPoolExecutor = field(default_factory=_readers, init=False)

    @property
    def readout(self) -> Readout:
        """The object that makes probabilities of this model's margins."""
        return self.scheduler.architecture.readout

    def encode(self, history: Sequence[str] | EncodedHistory, items: Items) -> EncodedRequest:
        """Check items and tokenize them together with a history, which has been checked already.

        Raises:
            InvalidInput: if an item cannot be ranked; it names the item's index and field.

        """
        return self.encoder.encode(history, to_items(items))

    def encode_pairs(self, requests: Iterable[object]) -> list[EncodedRequest]:
        """Check and tokenize pairs of history and items.

        Raises:
            InvalidInput: if a pair cannot be ranked; it names the request, and the item's index and field.

        """
        return [self._encode_pair(number, request) for number, request in enumerate(requests)]

    def score(
        self, read: Callable[[], list[EncodedRequest]], watch: Stopwatch, deadline: float | None
    ) -> tuple[list[EncodedRequest], Margins]:
        """Read requests and score them, on the caller's thread.

        Args:
            read: function that checks and tokenizes the requests.
            watch: stopwatch to add the seconds of each stage to.
            deadline: seconds from now after which the answer is of no use; None for never.

        Returns:
            The requests as token ids, and for each of them the margins of its items.

        Raises:
            OnyxrankError: as `Ranker.rank` does.

        """
        due = moment(deadline, self.scheduler.clock)
        self.scheduler.check_room()  # now, before work is spent on a request that would be refused
        with watch.stage("tokenize"):
            requests = read()
        return requests, self.scheduler.score(requests, watch, due)

    async def ascore(
        self, history: History, items: Items, watch: Stopwatch, deadline: float | None
    ) -> tuple[list[EncodedRequest], Margins]:
        """Check, tokenize and score one request on an event loop, which is not blocked; see `score`."""
        due = moment(deadline, self.scheduler.clock)
        self.scheduler.check_room()  # now, before work is spent on a request that would be refused
        began = time.perf_counter()
        events, checked = to_events(history), to_items(items)
        characters = _characters(events, checked)
        with self.scheduler.room(characters // _CHARACTERS_PER_TOKEN):
            if characters <= _INLINE_CHARACTERS:
                request = self.encoder.encode(events, checked)
            else:
                request = await self._read_apart(events, checked, due)
        watch.add("tokenize", time.perf_counter() - began)
        return [request], await self.scheduler.answer(self.scheduler.submit([request], watch, due))

    async def _read_apart(self, events: Sequence[str], items: Sequence[Item], due: float | None) -> EncodedRequest:
        """Tokenize a request on another thread, unless its deadline passes before it is done."""
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self.readers, self.encoder.encode, events, items)
        left = None if due is None else min(max(0.0, due - self.scheduler.clock()), threading.TIMEOUT_MAX)
        try:
            return await asyncio.wait_for(reading, left)
        except asyncio.TimeoutError:
            raise late() from None

    def rankings(
        self, requests: Sequence[EncodedRequest], margins: Margins, top_k: int | None, watch: Stopwatch
    ) -> list[Ranking]:
        """Make the ranking of each request, with its items sorted by their margins."""
        with watch.stage("rank"):
            hits = [
                to_hits(request.candidates, row, self.readout.probabilities(row), top_k)
                for request, row in zip(requests, margins, strict=True)
            ]
        timings, unknown = watch.read(), self.encoder.unknown_id
        return [
            Ranking(
                hits=found,
                total=len(request.candidates),
                cuts=request.cuts,
                cold_start=request.cold,
                tokens=len(request.history) + len(request.items.ids),
                unknown_tokens=sum(count_unknown(ids, unknown) for ids in (request.history, request.items.ids)),
                timings=timings,
            )
            for request, found in zip(requests, hits, strict=True)
        ]

    def probabilities(self, margins: Margins) -> list[NDArray[np.float32]]:
        """Return for each request the purchase probabilities of its items in input order, float32 [items]."""
        return [self.readout.probabilities(row) for row in margins]

    def stop(self) -> None:
        """Let the scheduler's threads end once the queue is empty, without waiting for them."""
        self.scheduler.stop()

    def close(self) -> None:
        """Finish the calls in the queue, end all threads, and free the model's memory."""
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
            named = copy.copy(error)
            named.args = (f"requests[{number}]: {error}",)
            raise named from error


def _characters(events: Sequence[str], items: Sequence[Item]) -> int:
    return sum(map(len, events)) + sum(len(item.title) + len(item.description) for item in items)
