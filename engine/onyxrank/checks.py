"""The checks of what a caller may set: numbers, such as threads or a number of items, and paths."""

from __future__ import annotations

import os
import stat
from numbers import Integral, Number
from pathlib import Path

from onyxrank.errors import InvalidInput

_LONGEST_SHOWN = 40
"""Most characters of a number that a message repeats."""


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
        raise InvalidInput(f"{field} must be a whole number of at least {least}, not {shown(value)}", field=field)
    return count


def shown(value: object) -> str:
    """Write a wrong value for a message: a number as it is, anything else as its type.

    Anything else may be a shopper's text that was passed as the wrong argument.
    """
    if not isinstance(value, Number):
        return type(value).__name__
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"a number of {len(text)} digits"


def why_absent(path: Path, *, folder: bool = False) -> str | None:
    """Say why there is no file, or no folder, at a path that a user named.

    Returns:
        None if there is one. Otherwise a text for the message: empty if nothing of the kind is there, or else the
        system's reason in brackets, after a space.

    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:  # a name too long, a folder that may not be read, a zero byte in the name
        return f" ({getattr(error, 'strerror', None) or error})"
    return None if (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)) else ""


def is_path(value: object) -> bool:
    """Whether a value is a path that is text; `os.PathLike` objects may also give bytes."""
    return isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))
