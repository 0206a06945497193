"""Checks what a column's values must be, and brings them to one normal form.

Each check takes a raw column and gives its normal form: ids and texts as String, `behavior` as Int8, times as
Int64 microseconds, labels as Float32. Where a value is at fault the normal form is null and a fault is noted.
Csv (all text) and parquet (typed) of the same data give the same normal form.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import TypeAlias

import polars as pl

from onyxrank_export.data._faults import Faults
from onyxrank_export.data._tables import Table
from onyxrank_export.data._times import ambiguous, to_microseconds

Check: TypeAlias = Callable[[pl.Series, str, Faults], pl.Series]

# As str.strip sees it, which the engine uses; that of polars leaves some control characters.
_BLANKS = "".join(filter(str.isspace, map(chr, range(sys.maxunicode + 1))))
_SHOWN = r"[^\p{C}\p{Z}\p{Mn}\x{FFFD}]"
"""A character that is seen: BERT's normalizer drops the others, so that a text of only these has no tokens."""
_WHOLE_FLOAT = r"^-?(0|[1-9]\d*)\.0$"
_EXACT_FLOATS = 2**53
_MANGLED = r"^\s*-?\d([.,]\d+)?[eE]\+\d\d+\s*$"
"""A long number as a spreadsheet shows it, such as ``4.00639E+12``: of what it was only the first digits are left."""
_HARMLESS = re.compile(r"[\d.+\-:/eETZ ]{1,32}|nan|null|none|n/a|inf|true|false|yes|no", re.IGNORECASE)


def check_table(table: Table, checks: Mapping[str, Check], faults: Faults) -> pl.DataFrame:
    """Return the normal form of those columns of ``table`` that are there, in the order of ``checks``."""
    present = [column for column in checks if column in table.frame.columns]
    return pl.DataFrame([checks[column](_plain(table.frame[column]), table.name, faults) for column in present])


def _plain(column: pl.Series) -> pl.Series:
    """Return a column without its logical type, so that every check reads a category or a decimal as what it says."""
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if column.dtype == pl.Decimal:
        whole = column.cast(pl.Int64, strict=False)
        exact = whole.cast(column.dtype, strict=False).eq_missing(column).all()
        return whole if exact else column.cast(pl.Float64)
    return column


def check_id(column: pl.Series, file: str, faults: Faults) -> pl.Series:
    """Check ids: text or whole numbers, none missing.

    Leading zeros stay. A column that is 12.0, 7.0 and so on throughout becomes 12, 7: other libraries turn
    whole numbers into such when they meet a gap.
    """
    ids = _as_text(column)
    if ids is None and column.dtype.is_integer():
        ids = column.cast(pl.String)
    elif ids is None and column.dtype.is_float():
        column = column.fill_nan(None)
        whole = ((column == column.floor()) & (column.abs() < _EXACT_FLOATS)).fill_null(True)
        faults.add_rows(file, column.name, ~whole, lambda row: "an id must be text or a whole number")
        faults.add_rows(file, column.name, column.is_null(), lambda row: "is missing")
        return column.set(~whole, None).cast(pl.Int64).cast(pl.String)
    if ids is None:
        faults.add(file, f"must be text or whole numbers, not {column.dtype}", column=column.name)
        return _nothing(column, pl.String)
    filled = ids.drop_nulls()
    if len(filled) and filled.str.contains(_WHOLE_FLOAT).all():
        ids = ids.str.strip_suffix(".0")
    mangled = ids.str.contains(_MANGLED).fill_null(False)
    faults.add_rows(
        file,
        column.name,
        mangled,
        lambda row: "a number that a spreadsheet has cut; export the column as text, since other ids look the same",
    )
    blank = ids.is_null() | (ids.str.strip_chars(_BLANKS) == "")
    faults.add_rows(file, column.name, blank, lambda row: "is missing")
    return ids.set(blank, None)


def check_text(column: pl.Series, file: str, faults: Faults) -> pl.Series:
    """Check texts that may be empty or missing; missing becomes empty."""
    text = _as_text(column)
    if text is None:
        faults.add(file, f"must be text, not {column.dtype}", column=column.name)
        return _nothing(column, pl.String)
    return text.fill_null("")


def check_filled_text(column: pl.Series, file: str, faults: Faults) -> pl.Series:
    """Check texts that must hold more than white space and invisible characters."""
    text = check_text(column, file, faults)
    blank = ~text.str.contains(_SHOWN)
    faults.add_rows(file, column.name, blank, lambda row: "is empty; it needs some text to rank by")
    return text


def check_behavior(column: pl.Series, file: str, faults: Faults) -> pl.Series:
    """Check that all is 1 or true (a purchase) or 0 or false (none)."""
    values = column.str.to_lowercase() if column.dtype == pl.String else column
    if column.dtype == pl.String:
        values = values.replace({"true": "1", "false": "0"})
    numbers = _as_numbers(values)
    good = (numbers == 0) | (numbers == 1)
    faults.add_rows(
        file,
        column.name,
        ~good.fill_null(False),
        lambda row: f"{_shown(column[row])}; write 1 (bought) or 0 (not)",
    )
    return numbers.set(~good.fill_null(False), None).cast(pl.Int8)


def check_label(column: pl.Series, file: str, faults: Faults) -> pl.Series:
    """Check that all labels are finite numbers."""
    labels = _as_numbers(column).cast(pl.Float32, strict=False)
    good = labels.is_finite().fill_null(False)
    faults.add_rows(file, column.name, ~good, lambda row: f"{_shown(column[row])}; a label is a finite number")
    return labels.set(~good, None)


def check_time(column: pl.Series, file: str, faults: Faults) -> pl.Series:
    """Check times: seconds since 1970, or dates and times; gives microseconds."""
    times, too_large = to_microseconds(column)
    unclear, looks = ambiguous(column)
    faults.add_rows(
        file,
        column.name,
        unclear & ~too_large,
        lambda row: f"{_shown(column[row])}, {looks}; give seconds since 1970, or a date and time in every row",
    )
    faults.add_rows(
        file,
        column.name,
        too_large,
        lambda row: f"{_shown(column[row])}; give seconds, not milliseconds or finer",
    )
    faults.add_rows(
        file,
        column.name,
        times.is_null() & ~too_large,
        lambda row: f"{_shown(column[row])}; give seconds since 1970 or an ISO date and time",
    )
    return times


def check_unique(frame: pl.DataFrame, column: str, file: str, faults: Faults) -> None:
    """Note every id of ``frame`` that an earlier row has already, and whether the rows agree."""
    if column not in frame.columns:
        return
    numbered = frame.select(column).with_row_index("place")
    first = numbered.select(pl.col("place").first().over(column)).to_series()

    def describe(row: int) -> str:
        kind = "the same" if frame.row(first[row]) == frame.row(row) else "another"
        return f"duplicate of row {first[row] + 1}, with {kind} text; keep one of them"

    faults.add_rows(file, column, (first != numbered["place"]) & frame[column].is_not_null(), describe)


def check_known(ids: Table, known: Table, column: str, faults: Faults) -> None:
    """Note every id in ``ids`` that the table ``known`` does not have."""
    if column not in ids.frame.columns or column not in known.frame.columns or not known.frame.height:
        return
    asked = ids.frame[column]
    there = known.frame[column].drop_nulls().unique()
    missing = asked.is_not_null() & ~asked.replace_strict(there, True, default=False, return_dtype=pl.Boolean)
    faults.add_rows(ids.name, column, missing, lambda row: f"{str(asked[row])[:60]!r} is not in {known.name}")


def _as_text(column: pl.Series) -> pl.Series | None:
    """Return the column as String, or None if it holds something else."""
    if column.dtype == pl.String:
        return column
    if column.null_count() == len(column):
        return column.cast(pl.String)
    # Other libraries write a text column without any text as floats that are all NaN.
    if column.dtype.is_float() and column.is_nan().fill_null(True).all():
        return _nothing(column, pl.String)
    return None


def _as_numbers(column: pl.Series) -> pl.Series:
    """Return the column as Float64, null where it is not a number."""
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return _nothing(column, pl.Float64)
    return column.cast(pl.Float64, strict=False)


def _nothing(column: pl.Series, dtype: type[pl.DataType]) -> pl.Series:
    return pl.Series(column.name, [None], dtype).new_from_index(0, len(column))


def _shown(value: object) -> str:
    """Say what the value is, unless it could be someone's text that slipped into the wrong column."""
    if value is None:
        return "is missing"
    text = str(value)
    return f"is {text}" if _HARMLESS.fullmatch(text) else "is not a number"
