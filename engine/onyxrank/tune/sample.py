"""The sample: the requests to measure with, which are the caller's own, the bundle's, or made-up ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from onyxrank.bundle.opening import Bundle
from onyxrank.checks import why_absent
from onyxrank.errors import InvalidInput
from onyxrank.measure.requests import Request, Workload, make_request
from onyxrank.request.items import to_events, to_items

SAMPLE_FILE = "sample.jsonl"
"""File of requests that a bundle carries. Export makes them of the catalogue's texts, and of no shopper's history."""
_MADE_UP_ITEMS = (100, 10)
"""Numbers of items in the two requests that are made up for a bundle without a sample."""


def sample_of(bundle: Bundle, path: Path | None) -> tuple[tuple[Request, ...], str]:
    """Find the requests to measure with.

    Args:
        bundle: the bundle to tune.
        path: the caller's file of requests, or None for the bundle's own. If the bundle has none, requests are made
            of words of its vocabulary.

    Returns:
        The requests, and a phrase for people that says where they are from.

    Raises:
        InvalidInput: if a file cannot be read; it names the file and the line at fault.

    """
    if path is not None:
        return read_requests(path), str(path)
    if SAMPLE_FILE in bundle.manifest.files:
        return read_requests(bundle.path(SAMPLE_FILE)), "the bundle's sample"
    limits = bundle.manifest.limits
    made_up = tuple(
        make_request(
            bundle,
            Workload(name="tune", history_tokens=limits.history_tokens, items=items, item_tokens=limits.item_tokens),
            seed=seed,
        )
        for seed, items in enumerate(_MADE_UP_ITEMS)
    )
    return made_up, "words of the vocabulary, as long as the bundle allows"


def read_requests(path: Path) -> tuple[Request, ...]:
    """Read a jsonl file with a line ``{"history": …, "items": […]}`` for each request, as `Ranker.rank` takes them.

    Raises:
        InvalidInput: if the file cannot be read; it names the file, the line and the field at fault, but never quotes
            their text.

    """
    reason = why_absent(path)
    if reason is not None:
        raise InvalidInput(f"{path}: no such file{reason}", field="requests")
    try:
        requests = tuple(_requests(path))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text at byte {error.start}", field="requests") from error
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})", field="requests") from error
    if not requests:
        raise InvalidInput(f"{path}: holds no requests", field="requests")
    return requests


def write_requests(requests: Sequence[Request], path: Path) -> None:
    """Write requests to a file that `read_requests` reads."""
    with path.open("w", encoding="utf-8") as file:
        for request in requests:
            items = [{"id": item.id, "title": item.title, "description": item.description} for item in request.items]
            file.write(json.dumps({"history": list(request.history), "items": items}, ensure_ascii=False) + "\n")


def spread(requests: Sequence[Request], most: int) -> tuple[Request, ...]:
    """Choose at most `most` requests, evenly over all sizes of their lists, in ascending order of size.

    The requests are divided by size into as many groups, and the middle one of each group is chosen.
    """
    ordered = sorted(requests, key=lambda request: len(request.items))
    if len(ordered) <= most:
        return tuple(ordered)
    return tuple(ordered[(2 * number + 1) * len(ordered) // (2 * most)] for number in range(most))


def _requests(path: Path) -> Iterator[Request]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path}: line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                # The error is not chained, since the message of the cause would quote the line.
                raise InvalidInput(f"{place} is not JSON", field="requests", index=number - 1) from None
            if not isinstance(row, dict) or not {"history", "items"} <= row.keys():
                raise InvalidInput(
                    f"{place} is not an object with history and items", field="requests", index=number - 1
                )
            try:
                request = Request(to_events(row["history"]), to_items(row["items"]))
            except InvalidInput as error:
                raise InvalidInput(f"{place}: {error}", field=error.field, index=error.index) from error
            if not request.items:
                raise InvalidInput(f"{place} has no items: nothing to measure", field="items", index=number - 1)
            yield request
