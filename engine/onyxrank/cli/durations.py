"""Reads durations as they are written on the command line."""

from __future__ import annotations

import re

from onyxrank.errors import InvalidInput

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0}


def seconds(text: str) -> float:
    """Read a duration such as ``120``, ``120s`` or ``5m`` and return its seconds.

    Raises:
        InvalidInput: if the text is no such duration.

    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min)?", text.strip())
    if found is None:
        raise InvalidInput(f"budget must be a time such as 120s or 5m, not {text!r}", field="budget")
    return float(found[1]) * _UNITS[found[2] or ""]
