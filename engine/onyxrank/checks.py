"""The check of numbers that a caller may set, such as threads or a number of items."""

from __future__ import annotations

from numbers import Integral, Number

from onyxrank.errors import InvalidInput


def check_count(value: object, field: str, *, least: int = 1) -> int:
    """Check that a value is a whole number, and return it as Python's int; numpy's integers are accepted.

    Args:
        value: the value that the caller gave.
        field: name of the argument, for the error.
        least: smallest number that is accepted, at least 0.

    Raises:
        InvalidInput: if the value is anything else, True and 2.0 included; it names the field.

    """
    count = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else -1
    if count < least:
        # Only a number is quoted: anything else may be a shopper's text that was passed as the wrong argument.
        shown = repr(value) if isinstance(value, Number) else type(value).__name__
        raise InvalidInput(f"{field} must be a whole number of at least {least}, not {shown}", field=field)
    return count
