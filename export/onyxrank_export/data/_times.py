"""Converts times in any of the usual forms to microseconds since 1970.

1. Whole numbers and decimals are seconds.
2. Dates, and times with or without a zone, are what they say; without a zone they are UTC.
3. Text is read as a number, else as an ISO 8601 date or time, in the spelling of Postgres or BigQuery too.
4. Numbers that are all years, or all days as Excel counts them, are ambiguous, and so is a number among dates.

The unit is microseconds because rows are ordered by it: two events within one second keep their order.
"""

from __future__ import annotations

import re

import polars as pl

MICROSECONDS = 1_000_000
# In the year 5138; milliseconds of any day since 1973 are above.
_MOST_SECONDS = 10**11


_FORM = re.compile(
    r"(?i)^(?P<day>\d{4}-\d\d-\d\d)[T ](?P<minute>\d\d:\d\d)(?P<second>:\d\d(?:\.\d{1,9})?)?"
    r" ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?$"
)
_YEARS = (1900, 2100)
_EXCEL_DAYS = (20_000, 80_000)
"""The days of 1954 to 2119, as Excel numbers them."""


def to_microseconds(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Convert a column of times.

    Returns:
        Int64 microseconds since 1970, null where the value is no time; and a Boolean mask of the numbers that
        are too large to be seconds (null in the first as well).

    """
    if column.dtype in (pl.Date, pl.Datetime):
        times = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
        return times.dt.epoch("us"), pl.repeat(False, len(column), dtype=pl.Boolean, eager=True)
    seconds = _numbers(column)
    too_large = (seconds.abs() > _MOST_SECONDS).fill_null(False)
    seconds = seconds.set(too_large, None)
    whole = seconds.floor()
    numbers = whole.cast(pl.Int64) * MICROSECONDS + ((seconds - whole) * MICROSECONDS).round().cast(pl.Int64)
    dates = _dates(column)
    if dates is not None:
        numbers = numbers.zip_with(numbers.is_not_null(), dates)
    return numbers.alias(column.name), too_large


def ambiguous(column: pl.Series) -> tuple[pl.Series, str]:
    """Find the numbers that may be seconds or something else.

    Returns:
        A Boolean mask of them, and what else they look like, for people.

    """
    none = pl.repeat(False, len(column), dtype=pl.Boolean, eager=True)
    if column.dtype in (pl.Date, pl.Datetime):
        return none, ""
    numbers = _numbers(column)
    dates = _dates(column)
    if dates is not None and dates.is_not_null().any():
        return numbers.is_not_null(), "a number among dates"
    found = numbers.drop_nulls()
    for (least, most), name in ((_YEARS, "a year"), (_EXCEL_DAYS, "a day as Excel counts them")):
        if len(found) and found.is_between(least, most).all():
            return numbers.is_not_null(), name
    return none, ""


def _numbers(column: pl.Series) -> pl.Series:
    """Return what the column's numbers are as Float64, null where a value is no finite number."""
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not column.dtype.is_numeric():
        return pl.repeat(None, len(column), dtype=pl.Float64, eager=True)
    numbers = column.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(False), None)


def _dates(column: pl.Series) -> pl.Series | None:
    """Return the microseconds of a text column's dates and times, null where it has none; None if it is no text."""
    if column.dtype != pl.String:
        return None
    text = column.str.strip_chars()
    parts = text.str.extract_groups(_FORM.pattern).struct.unnest()
    zone = parts["zone"].fill_null("Z").str.replace("(?i)^(Z|UTC|GMT)$", "+00:00")
    zone = zone.str.replace(r"^([+-]\d\d)$", "${1}:00").str.replace(r"^([+-]\d\d)(\d\d)$", "${1}:${2}")
    plain = parts["day"] + " " + parts["minute"] + parts["second"].fill_null(":00") + zone
    times = plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)
    days = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return times.dt.epoch("us").zip_with(times.is_not_null(), days.dt.epoch("us"))
