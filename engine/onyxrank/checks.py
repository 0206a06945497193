"""The check that every count the caller may set goes through."""

from __future__ import annotations

from numbers import Integral, Number

from onyxrank.errors import InvalidInput


def check_count(value: object, field: str, *, least: int = 1) -> int:
    """Return a whole number of at least `least`, a number of 0 or more; numpy's integers are whole numbers too.

    Raises:
        InvalidInput: naming the field, for anything else (True and 2.0 included).

    """
    count = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else -1
    if count < least:
        # Anything but a number may be a text of the shopper that took a wrong turn.
        shown = repr(value) if isinstance(value, Number) else type(value).__name__
        raise InvalidInput(f"{field} must be a whole number of at least {least}, not {shown}", field=field)
    return count
