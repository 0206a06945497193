"""Converts times in any of the usual forms to microseconds since 1970.

1. Whole numbers and decimals are seconds.
2. Dates, and times with or without a zone, are what they say; without a zone they are UTC.
3. Text is read as a number, else as an ISO 8601 date or time.

The unit is microseconds because rows are ordered by it: two events within one second keep their order.
"""

from __future__ import annotations

import polars as pl

MICROSECONDS = 1_000_000
# In the year 5138; milliseconds of any day since 1973 are above.
_MOST_SECONDS = 10**11


def to_microseconds(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Convert a column of times.

    Returns:
        Int64 microseconds since 1970, null where the value is no time; and a Boolean mask of the numbers that
        are too large to be seconds (null in the first as well).

    """
    if column.dtype in (pl.Date, pl.Datetime):
        times = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
        return times.dt.epoch("us"), pl.repeat(False, len(column), dtype=pl.Boolean, eager=True)
    text = column.str.strip_chars() if column.dtype == pl.String else None
    if text is None and not column.dtype.is_numeric():
        column = pl.repeat(None, len(column), dtype=pl.Int64, eager=True).alias(column.name)
    values = column if text is None else text
    seconds = values.cast(pl.Float64, strict=False)
    seconds = seconds.set(~seconds.is_finite().fill_null(False), None)
    too_large = (seconds.abs() > _MOST_SECONDS).fill_null(False)
    seconds = seconds.set(too_large, None)
    whole = seconds.floor()
    numbers = whole.cast(pl.Int64) * MICROSECONDS + ((seconds - whole) * MICROSECONDS).round().cast(pl.Int64)
    if text is not None and (numbers.is_null() & text.is_not_null() & ~too_large).any():
        numbers = numbers.zip_with(numbers.is_not_null() | too_large, _iso_to_microseconds(text))
    return numbers.alias(column.name), too_large


def _iso_to_microseconds(text: pl.Series) -> pl.Series:
    plain = text.str.replace("T", " ", literal=True).str.replace("Z$", "+00:00")
    with_zone = plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)
    no_zone = plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    day = plain.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    times = with_zone.dt.epoch("us")
    for other in (no_zone, day):
        times = times.zip_with(times.is_not_null(), other.dt.epoch("us"))
    return times
