"""The check that every count the caller may set goes through."""

from __future__ import annotations

from onyxrank._errors import InvalidInput


def check_count(value: object, field: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        InvalidInput: naming the field, for anything else (True and 2.0 included).

    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInput(f"{field} must be a whole number of at least 1, not {value!r}", field=field)
    return value
