"""Says why a csv file could not be read, in words that carry none of its text.

This runs only after the fast reader has given up, so it can afford to go through the file row by row.
"""

from __future__ import annotations

import csv
from pathlib import Path

_BARE_QUOTE = "cannot be read as csv; write a field that holds a quote in quotes, and double the quote inside"


Explained = list[tuple[str, int | None]]
"""What is wrong with a file, and the number of the data row where it is one row (first row 1)."""


def explain_csv(path: Path, error: BaseException) -> Explained:
    """Say what is wrong with a file: every row that is too long, or why the file cannot be read any further."""
    if isinstance(error, OSError) and error.strerror:
        return [(f"cannot be read: {error.strerror}", None)]
    content = path.read_bytes()
    if not content.strip():
        return [("is empty", None)]
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        return [(f"is not UTF-8 (byte 0x{content[fault.start]:02x} in line {line}); save it as UTF-8", None)]
    return _odd_rows(path)


def _odd_rows(path: Path) -> Explained:
    row, odd = 0, Explained()
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
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
