"""Reads items from a file: jsonl, csv or parquet.

Every reader yields rows as mappings of column names to values, and `to_items` makes items of them, as it does for the
items of a call.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onyxrank.checks import why_absent
from onyxrank.errors import InvalidInput
from onyxrank.machine import extras
from onyxrank.request.items import Item, to_items

SUFFIXES = (".jsonl", ".csv", ".parquet")
_LONGEST_FIELD = 2**31 - 1
"""Most characters that a field of a csv file may have.

Python's own limit of 131,072 is too small for long descriptions; this is the most that `csv` accepts on every system.
"""


def read_items(path: Path) -> tuple[Item, ...]:
    """Read items in the order of the file. Columns that items do not have are ignored.

    Args:
        path: a jsonl file with one object on each line, a csv file with a header, or a parquet file.

    Raises:
        InvalidInput: if the file cannot be read; it names the file, and the row and the field at fault. Rows count
            from 1, and a header is no row.
        MissingExtra: if the file is parquet and polars is not installed.

    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInput(f"{path}: items are read from {', '.join(SUFFIXES)} files", field="items")
    reason = why_absent(path)
    if reason is not None:
        raise InvalidInput(f"{path}: no such file{reason}", field="items")
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    try:
        rows = [{name: value for name, value in row.items() if value is not None} for row in readers[suffix](path)]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text at byte {error.start}", field="items") from error
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})", field="items") from error
    if not rows:
        raise InvalidInput(f"{path}: holds no items", field="items")
    try:
        return to_items(rows)
    except InvalidInput as error:
        row = "" if error.index is None else f"row {error.index + 1}: "
        raise InvalidInput(f"{path}: {row}{error}", field=error.field, index=error.index) from error


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InvalidInput(f"{path}: line {number} is not JSON", field="items", index=number - 1) from error
            if not isinstance(row, dict):
                raise InvalidInput(f"{path}: line {number} is not a JSON object", field="items", index=number - 1)
            yield row


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        csv.field_size_limit(_LONGEST_FIELD)
        try:
            for number, row in enumerate(csv.DictReader(file, strict=True), 1):
                if None in row:
                    raise InvalidInput(
                        f"{path}: row {number} has more fields than the header; quote fields that hold a comma",
                        field="items",
                        index=number - 1,
                    )
                yield row
        except csv.Error as error:
            raise InvalidInput(f"{path}: not a csv file ({error})", field="items") from error


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    polars = extras.load("polars", extra="cli", purpose="reading parquet")
    try:
        frame = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(f"{path}: not a readable parquet file", field="items") from error
    yield from frame.iter_rows(named=True)
