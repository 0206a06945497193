"""The way of a request: checked, encoded, queued, ranked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank.loading.engine import Engine
from onyxrank.request.items import History, Item, Items, to_events, to_items
from onyxrank.request.ranking import Ranking, to_hits
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest
from onyxrank.scheduling.deadlines import moment
from onyxrank.scheduling.queue import Job
from onyxrank.scheduling.scheduler import Scores

_READ_AT_ONCE = 5_000
"""Characters tokenized on the event loop itself, in about half a millisecond: as long as a thread takes to answer."""
_EMPTY_HISTORY_TOKENS = 2  # [CLS] [SEP]


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A checked request and its token ids."""

    items: tuple[Item, ...]
    encoded: EncodedRequest


def encode(engine: Engine, history: Sequence[str] | EncodedHistory, items: Items) -> CheckedRequest:
    """Check items and tokenize them with a checked history.

    Raises:
        InvalidInput: naming the item's index and field.

    """
    return _encode_checked(engine, history, to_items(items))


def encode_numbered(engine: Engine, number: int, request: object) -> CheckedRequest:
    """Check and tokenize one of several pairs of history and items.

    Raises:
        InvalidInput: naming the request, and the item's index and field.

    """
    if not isinstance(request, tuple | list) or len(request) != 2:
        raise InvalidInput(f"requests[{number}] must be a pair of history and items", field="requests", index=number)
    history, items = request
    try:
        return encode(engine, to_events(history), items)
    except InvalidInput as error:
        raise InvalidInput(f"requests[{number}]: {error}", field=error.field, index=error.index) from error


def score(
    engine: Engine, read: Callable[[], list[CheckedRequest]], watch: Stopwatch, deadline: float | None
) -> tuple[list[CheckedRequest], Scores]:
    """Read requests and score them, on the caller's thread; see `Ranker.rank`."""
    due = moment(deadline, engine.scheduler.clock)
    with watch.stage("tokenize"):
        requests = read()
    return requests, engine.scheduler.wait(_submit(engine, requests, watch, due))


async def ascore(
    engine: Engine, history: History, items: Items, watch: Stopwatch, deadline: float | None
) -> tuple[CheckedRequest, Scores]:
    """Check, tokenize and score one request, for an event loop; see `Ranker.arank`."""
    scheduler = engine.scheduler
    due = moment(deadline, scheduler.clock)
    scheduler.check_room()  # before work is spent on what would be refused
    began = time.perf_counter()
    events, checked = to_events(history), to_items(items)
    if _characters(events, checked) <= _READ_AT_ONCE:
        request = _encode_checked(engine, events, checked)
    else:
        loop = asyncio.get_running_loop()
        request = await loop.run_in_executor(engine.readers, _encode_checked, engine, events, checked)
    watch.add("tokenize", time.perf_counter() - began)
    return request, await scheduler.answer(_submit(engine, [request], watch, due))


def _encode_checked(
    engine: Engine, history: Sequence[str] | EncodedHistory, items: tuple[Item, ...]
) -> CheckedRequest:
    return CheckedRequest(items, engine.encoder.encode(history, items))


def _submit(engine: Engine, requests: Sequence[CheckedRequest], watch: Stopwatch, due: float | None) -> Job:
    return engine.scheduler.submit([request.encoded for request in requests], watch, due)


def _characters(events: Sequence[str], items: Sequence[Item]) -> int:
    return sum(map(len, events)) + sum(len(item.title) + len(item.description) for item in items)


def to_rankings(
    requests: Sequence[CheckedRequest], scores: Sequence[NDArray[np.float32]], top_k: int | None, watch: Stopwatch
) -> list[Ranking]:
    """Sort the items of requests by their scores."""
    with watch.stage("rank"):
        hits = [to_hits(request.items, row, top_k) for request, row in zip(requests, scores, strict=True)]
    timings = watch.read()
    return [
        Ranking(
            hits=found,
            total=len(request.items),
            cuts=request.encoded.cuts,
            cold_start=len(request.encoded.history) == _EMPTY_HISTORY_TOKENS,
            tokens=len(request.encoded.history) + len(request.encoded.items.ids),
            timings=timings,
        )
        for request, found in zip(requests, hits, strict=True)
    ]
