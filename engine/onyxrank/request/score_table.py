"""Scores a whole table of requests, in which each row has one item of one request.

1. The columns are found and checked. The keys of the requests are read, a slice at a time, and numbered.
2. The rows are sorted by the number of their request. Within a request they stay in the order of the table, in which
   they need not be adjacent.
3. Requests are read, checked and scored a chunk of rows at a time. A request is never split between chunks.
4. The scores and places are written to the rows that they belong to.

A row is named by its position in the table, from 0. Beside the table, memory holds the distinct keys, 28 bytes for
each row, and one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank.checks import check_count
from onyxrank.errors import InvalidInput, NonFiniteScore
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.items import FIELD_NAMES, Item, to_events, to_items
from onyxrank.request.progress import counting
from onyxrank.request.ranking import order_by
from onyxrank.request.tables import Frame, Rows, as_frame, item_columns, item_rows
from onyxrank.request.token_ids import EncodedRequest

CHUNK_ROWS = 1024
"""Rows to score at once by default: enough to fill micro-batches with rows of like lengths, and few enough that the
progress bar moves."""

Scoring: TypeAlias = Callable[[Sequence[EncodedRequest]], Sequence[NDArray[np.float32]]]
"""A function that returns for each request the margins of its items."""

_KEYS_AT_ONCE = 65_536
"""Rows whose keys are read at once: enough that a slice costs little, and little memory as Python objects."""


@dataclass(frozen=True, slots=True)
class _Input:
    """A table that has passed the checks, and the columns that hold its requests.

    Attributes:
        frame: the table.
        request: column of the request's key.
        history: column of the history.
        items: columns of the items, by field.

    """

    frame: Frame
    request: str
    history: str
    items: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Grouped:
    """Rows grouped by request.

    Attributes:
        rows: positions of the rows in the table, those of one request after those of another.
        starts: [requests + 1]; request i has ``rows[starts[i]:starts[i + 1]]``.

    """

    rows: NDArray[np.intp]
    starts: NDArray[np.intp]

    @property
    def requests(self) -> int:
        return len(self.starts) - 1

    def chunks(self, most: int) -> Iterator[_Grouped]:
        """Cut the groups into chunks of whole requests, of at most `most` rows; a larger request is one alone."""
        first, most = 0, min(most, len(self.rows))
        while first < self.requests:
            fitting = int(np.searchsorted(self.starts, self.starts[first] + most, side="right")) - 1
            last = max(first + 1, fitting)
            starts = self.starts[first : last + 1]
            yield _Grouped(self.rows[starts[0] : starts[-1]], starts - starts[0])
            first = last

    def bounds(self) -> Iterator[tuple[int, int]]:
        """Give for each request the first of its places in `rows`, and the one after its last."""
        return zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)


def score_frame(
    table: object,
    encoder: TextEncoder,
    scoring: Scoring,
    probabilities: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    *,
    request: str,
    history: str,
    score: str,
    rank: str,
    chunk_rows: int = CHUNK_ROWS,
    progress: bool | None = None,
) -> Any:
    """Score every row of a table, and return a new table with the scores and places.

    `encoder` makes token ids of the requests, `scoring` makes margins of these, and `probabilities` makes
    probabilities of margins. See `Ranker.score_frame` for the other arguments.
    """
    asked = _checked(table, request, history, (score, rank))
    most = check_count(chunk_rows, "chunk_rows")
    count = len(asked.frame)
    scores, ranks = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.int64)
    with counting("scoring", count, shown=progress, purpose="score_frame's bar (or progress=False)") as advance:
        for chunk in _grouped(_request_numbers(asked)).chunks(most):
            encoded = _encoded(encoder, asked, chunk)
            for (first, last), found in zip(chunk.bounds(), _scored(scoring, encoded, chunk), strict=True):
                rows = chunk.rows[first:last]
                scores[rows] = probabilities(found)
                ranks[rows[order_by(found)]] = np.arange(1, len(rows) + 1)
            advance(len(chunk.rows))
    return asked.frame.with_columns({score: scores, rank: ranks})


def _checked(table: object, request: str, history: str, new: tuple[str, str]) -> _Input:
    frame = as_frame(table)
    if frame is None:
        raise InvalidInput(
            f"frame must be a pandas or polars DataFrame or a pyarrow Table, not {type(table).__name__}",
            field="frame",
        )
    for argument, name in (("request", request), ("history", history)):
        if frame.find((name,), name) is None:
            raise InvalidInput(f"the table has no column {name!r}; say which it is with {argument}=…", field=name)
    for argument, name in zip(("score", "rank"), new, strict=True):
        if not isinstance(name, str):
            raise InvalidInput(f"{argument} must be the name of a new column, a string", field=argument)
        if name in frame.names or new.count(name) > 1:
            raise InvalidInput(
                f"there is a column {name!r} already; choose a new name with {argument}=…", field=argument
            )
    items = item_columns(frame, FIELD_NAMES, "title")
    items.pop("id", None)
    return _Input(frame, request, history, items)


def _request_numbers(asked: _Input) -> NDArray[np.int64]:
    """Return for each row the number of its request; requests are numbered in the order of their first rows."""
    numbers = np.empty(len(asked.frame), dtype=np.int64)
    known: dict[Hashable, int] = {}
    for start in range(0, len(numbers), _KEYS_AT_ONCE):
        keys = asked.frame.values(asked.request, slice(start, start + _KEYS_AT_ONCE))
        for row, key in enumerate(keys, start):
            if key is None or not isinstance(key, Hashable):
                kind = "null" if key is None else type(key).__name__
                raise InvalidInput(
                    f"row {row}, column {asked.request!r} must be the request's key, a text or a number, not {kind}",
                    field=asked.request,
                    index=row,
                )
            numbers[row] = known.setdefault(key, len(known))
    return numbers


def _grouped(numbers: NDArray[np.int64]) -> _Grouped:
    rows = np.argsort(numbers, kind="stable")
    requests = int(numbers.max()) + 1 if len(numbers) else 0
    starts = np.zeros(requests + 1, dtype=np.intp)
    np.cumsum(np.bincount(numbers, minlength=requests), out=starts[1:])
    return _Grouped(rows, starts)


def _encoded(encoder: TextEncoder, asked: _Input, chunk: _Grouped) -> list[EncodedRequest]:
    """Check and tokenize a chunk's requests."""
    # The rows of a chunk are usually adjacent. Libraries take a range of rows without copying it.
    adjacent = bool((np.diff(chunk.rows) == 1).all())
    rows: Rows = slice(int(chunk.rows[0]), int(chunk.rows[-1]) + 1) if adjacent else chunk.rows
    items = _items(asked, rows, chunk)
    histories = _histories(asked, rows, chunk)
    encoded = []
    for (first, last), history in zip(chunk.bounds(), histories, strict=True):
        try:
            encoded.append(encoder.encode(history, items[first:last]))
        except InvalidInput as error:
            raise _at(error, asked, chunk.rows[first:last]) from error
    return encoded


def _items(asked: _Input, rows: Rows, chunk: _Grouped) -> tuple[Item, ...]:
    try:
        return to_items(item_rows(asked.frame, asked.items, rows))
    except InvalidInput as error:
        raise _at(error, asked, chunk.rows) from error


def _histories(asked: _Input, rows: Rows, chunk: _Grouped) -> list[tuple[str, ...]]:
    """Check that all rows of a request have the same history, and return the checked events of each request."""
    values = [_plain(value) for value in asked.frame.values(asked.history, rows)]
    histories = []
    for first, last in chunk.bounds():
        try:
            histories.append(to_events(values[first]))
        except InvalidInput as error:
            row = int(chunk.rows[first])
            raise InvalidInput(
                f"row {row}, column {asked.history!r}: {error}", field=asked.history, index=row
            ) from error
        for place in range(first, last):
            if values[place] != values[first] and not _same(values[place], histories[-1]):
                row, other = int(chunk.rows[place]), int(chunk.rows[first])
                raise InvalidInput(
                    f"row {row}, column {asked.history!r} differs from row {other} of the same request; give two "
                    "histories two keys",
                    field=asked.history,
                    index=row,
                )
    return histories


def _same(history: Any, events: tuple[str, ...]) -> bool:
    """Whether a history says the same events, be it a text, texts, or nothing."""
    try:
        return to_events(history) == events
    except InvalidInput:
        return False


def _plain(history: Any) -> Any:
    """Make a list of an array or a tuple, so that histories compare by their events; null is a cold start."""
    if history is None:
        return []
    if isinstance(history, np.ndarray):
        return history.tolist()
    return list(history) if isinstance(history, tuple) else history


def _scored(scoring: Scoring, encoded: list[EncodedRequest], chunk: _Grouped) -> Sequence[NDArray[np.float32]]:
    try:
        return scoring(encoded)
    except NonFiniteScore:
        # The error has the item's index in its request but does not say which request. Scoring them again, one by
        # one, finds it.
        for (first, last), request in zip(chunk.bounds(), encoded, strict=True):
            try:
                scoring([request])
            except NonFiniteScore as error:
                row = int(chunk.rows[first:last][error.index])
                raise NonFiniteScore(
                    f"the model answered NaN or infinity for row {row}; check the bundle with `onyxrank inspect`",
                    index=row,
                ) from error
        raise


def _at(error: InvalidInput, asked: _Input, rows: NDArray[np.intp]) -> InvalidInput:
    """Make an error that names the row and the column out of one that names the index and field of an item.

    Args:
        error: the error.
        asked: the table.
        rows: positions in the table of the items that `error.index` counts.

    """
    if error.index is None:
        return error
    row, column = int(rows[error.index]), asked.items.get(error.field, error.field)
    fault = str(error).removeprefix(f"items[{error.index}].{error.field} ")
    return InvalidInput(f"row {row}, column {column!r} {fault}", field=column, index=row)
