"""The way of a request: checked, encoded, scored, ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onyxrank._encoding import EncodedHistory, EncodedRequest
from onyxrank._errors import InvalidInput
from onyxrank._items import Item, Items, to_events, to_items
from onyxrank._loading import Engine
from onyxrank._ranking import Ranking, to_hits
from onyxrank._timing import Stopwatch

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
    checked = to_items(items)
    return CheckedRequest(checked, engine.encoder.encode(history, checked))


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


def rank(engine: Engine, requests: Sequence[CheckedRequest], top_k: int | None, watch: Stopwatch) -> list[Ranking]:
    """Score requests and sort their items.

    Raises:
        NonFiniteScore: if the model answers NaN or infinity; names request and item.

    """
    scores = engine.architecture.score([request.encoded for request in requests], watch)
    with watch.stage("rank"):
        hits = [to_hits(request.items, row, top_k) for request, row in zip(requests, scores, strict=True)]
    timings = watch.read()
    return [
        Ranking(
            hits=found,
            total=len(request.items),
            cuts=request.encoded.cuts,
            cold_start=len(request.encoded.history) == _EMPTY_HISTORY_TOKENS,
            timings=timings,
        )
        for request, found in zip(requests, hits, strict=True)
    ]
