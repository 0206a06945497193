"""Reads items from a file: jsonl, csv or parquet.

Every reader yields rows as mappings of column names to values, and `to_items` makes items of them, as it does for the
items of a call.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onyxrank.checks import why_absent
from onyxrank.errors import InvalidInput
from onyxrank.machine import extras
from onyxrank.request.items import FIELD_NAMES, Item, to_items

SUFFIXES = (".jsonl", ".csv", ".csv.gz", ".parquet")
_LONGEST_FIELD = 2**31 - 1
"""Most characters that a field of a csv file may have.

Python's own limit of 131,072 is too small for long descriptions; this is the most that `csv` accepts on every system.
"""
_LIMIT = threading.Lock()
"""Held while the limit of `csv`, which is one for the whole process, is another than the process had set."""
_SEPARATORS = ",;\t"
_NAMES = {name for names in FIELD_NAMES.values() for name in names}
_WHOLE_FLOAT = re.compile(r"-?(0|[1-9]\d*)\.0")
_MANGLED = re.compile(r"\s*-?\d([.,]\d+)?[eE]\+\d\d+\s*")
"""A long number as a spreadsheet shows it, such as ``4.00639E+12``: of what it was only the first digits are left."""


def read_items(path: Path) -> tuple[Item, ...]:
    """Read items in the order of the file. Columns that items do not have are ignored.

    Names of columns may be in capitals. Ids that are ``12.0`` throughout become ``12``, as in training.

    Args:
        path: a jsonl file with one object on each line; a csv file with a header and fields separated by commas,
            semicolons or tabs, which may be compressed with gzip; or a parquet file.

    Raises:
        InvalidInput: if the file cannot be read; it names the file, and the row and the field at fault. Rows count
            from 1, and a header is no row.
        MissingExtra: if the file is parquet and polars is not installed.

    """
    readers = {".jsonl": _jsonl, ".csv": _csv, ".csv.gz": _csv, ".parquet": _parquet}
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InvalidInput(f"{path}: items are read from {', '.join(SUFFIXES)} files", field="items")
    reason = why_absent(path)
    if reason is not None:
        raise InvalidInput(f"{path}: no such file{reason}", field="items")
    try:
        rows = [_named(row) for row in readers[suffix](path)]
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror or 'it is damaged'})", field="items") from error
    if not rows:
        raise InvalidInput(f"{path}: holds no items", field="items")
    _plain_ids(rows, path)
    try:
        return to_items(rows)
    except InvalidInput as error:
        row = "" if error.index is None else f"row {error.index + 1}: "
        raise InvalidInput(f"{path}: {row}{error}", field=error.field, index=error.index) from error


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the values that are null, and take names of other capitals for those that items have."""
    named = {name: value for name, value in row.items() if value is not None}
    for name in row:
        plain = name.strip().lower()
        if plain in _NAMES and plain not in row and name in named:
            named[plain] = named.pop(name)
    return named


def _plain_ids(rows: list[dict[str, Any]], path: Path) -> None:
    """Make of ids what training makes of them, and refuse those that a spreadsheet has cut."""
    names = [next((name for name in FIELD_NAMES["id"] if name in row), None) for row in rows]
    ids = [None if name is None else row[name] for row, name in zip(rows, names, strict=True)]
    for index, identity in enumerate(ids):
        if isinstance(identity, str) and _MANGLED.fullmatch(identity):
            raise InvalidInput(
                f"{path}: row {index + 1}: the id is a number that a spreadsheet has cut; export it as text",
                field="id",
                index=index,
            )
    if all(isinstance(identity, str) and _WHOLE_FLOAT.fullmatch(identity) for identity in ids):
        for row, name, identity in zip(rows, names, ids, strict=True):
            row[str(name)] = str(identity).removesuffix(".0")


def _text(path: Path) -> str:
    """Read a file of UTF-8 text, which may be compressed and may begin with a byte order mark."""
    content = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error) as error:
            raise InvalidInput(f"{path}: cannot be read (it is damaged)", field="items") from error
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 text at byte {error.start}", field="items") from error


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(io.StringIO(_text(path), newline=None), 1):
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
    text = _text(path)
    separator = _separator(text.partition("\n")[0])
    try:
        with _long_fields():
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
            rows = list(reader)
    except csv.Error as error:
        raise InvalidInput(f"{path}: not a csv file ({error})", field="items") from error
    if rows and not _known(reader.fieldnames or ()):
        raise InvalidInput(
            f"{path}: the first row names no column of items; give the file a header with item_id and item_title",
            field="items",
        )
    for number, row in enumerate(rows, 1):
        if None in row:
            raise InvalidInput(
                f"{path}: row {number} has more fields than the header; quote fields that hold a comma",
                field="items",
                index=number - 1,
            )
    yield from rows


def _known(names: Iterable[str]) -> set[str]:
    """Return which names of items a header has."""
    return {name.strip(' "\r').lower() for name in names} & _NAMES


def _separator(header: str) -> str:
    """Choose the separator by which most names of items are found in the header."""
    return max(_SEPARATORS, key=lambda separator: len(_known(header.split(separator))))


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let `csv` read long fields in the block, and set the process's own limit again after it."""
    with _LIMIT:
        own = csv.field_size_limit(_LONGEST_FIELD)
        try:
            yield
        finally:
            csv.field_size_limit(own)


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    polars = extras.load("polars", extra="cli", purpose="reading parquet")
    try:
        frame = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(f"{path}: not a readable parquet file", field="items") from error
    yield from frame.iter_rows(named=True)
