"""Says why a csv file could not be read, in words that carry none of its text.

This runs only after the fast reader has given up, so it can afford to go through the file row by row.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, cast

_BARE_QUOTE = "cannot be read as csv; write a field that holds a quote in quotes, and double the quote inside"


Explained = list[tuple[str, int | None]]
"""What is wrong with a file, and the number of the data row where it is one row (first row 1)."""


_SEPARATORS = ",;\t"


def opened(path: Path) -> BinaryIO:
    """Open a csv file, which is compressed if its name ends in ``.gz``."""
    return cast(BinaryIO, gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def separator_of(path: Path, columns: Collection[str]) -> str:
    """Choose the separator by which most of the wanted columns are found in the header: comma, semicolon or tab."""
    with opened(path) as lines:
        header = lines.readline().decode("utf-8-sig", errors="replace")

    def named(separator: str) -> int:
        return len({name.strip().strip('"').strip().lower() for name in header.split(separator)} & set(columns))

    return max(_SEPARATORS, key=named)


def explain_csv(path: Path, error: BaseException, columns: Collection[str]) -> Explained:
    """Say what is wrong with a file: every row that is too long, or why the file cannot be read any further."""
    if isinstance(error, OSError) and error.strerror:
        return [(f"cannot be read: {error.strerror}", None)]
    try:
        with opened(path) as lines:
            content = lines.read()
    except (OSError, EOFError, zlib.error):
        return [("cannot be read as gzip; it is damaged or not compressed", None)]
    if not content.strip():
        return [("is empty", None)]
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        return [(f"is not UTF-8 (byte 0x{content[fault.start]:02x} in line {line}); save it as UTF-8", None)]
    return _odd_rows(path, separator_of(path, columns))


def _odd_rows(path: Path, separator: str) -> Explained:
    row, odd = 0, Explained()
    with opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True, delimiter=separator)
        try:
            width = len(next(reader))
            for row, fields in enumerate(reader, start=1):
                if len(fields) > width:
                    odd.append(
                        (f"has {len(fields)} fields where the header has {width}; quote text with commas", row)
                    )
        except csv.Error:
            odd.append(("the quotes do not match; double a quote inside a quoted field", row + 1))
    return odd or [(_BARE_QUOTE, None)]
