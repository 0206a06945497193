"""The check that every count the caller may set goes through."""

from __future__ import annotations

from numbers import Integral, Number

from onyxrank._errors import InvalidInput


def check_count(value: object, field: str) -> int:
    """Return a whole number of at least 1; numpy's integers are whole numbers too.

    Raises:
        InvalidInput: naming the field, for anything else (True and 2.0 included).

    """
    count = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else 0
    if count < 1:
        # Anything but a number may be a text of the shopper that took a wrong turn.
        shown = repr(value) if isinstance(value, Number) else type(value).__name__
        raise InvalidInput(f"{field} must be a whole number of at least 1, not {shown}", field=field)
    return count
