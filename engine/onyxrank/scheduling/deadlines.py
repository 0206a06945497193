"""Makes a moment of the clock out of a deadline, which callers give in seconds from now."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from numbers import Real

from onyxrank.checks import shown
from onyxrank.errors import InvalidInput


def moment(deadline: object, clock: Callable[[], float]) -> float | None:
    """Return the moment at which a deadline passes, or None if there is no deadline.

    Args:
        deadline: seconds from now, or None. A deadline of 0 or less has passed already.
        clock: function that returns the present moment in seconds.

    Raises:
        InvalidInput: if the deadline is not a number, or one too large for a float.

    """
    if deadline is None:
        return None
    try:
        seconds = math.nan if isinstance(deadline, bool) or not isinstance(deadline, Real) else float(deadline)
    except OverflowError:  # a whole number or a fraction that no float can hold
        seconds = math.nan
    if math.isnan(seconds):
        raise InvalidInput(f"deadline must be seconds from now, not {shown(deadline)}", field="deadline")
    return clock() + seconds


def seconds_left(deadline: float | None, clock: Callable[[], float]) -> float | None:
    """Return the seconds until a moment of the clock, at most as many as the system can wait; None without one."""
    return None if deadline is None else min(max(0.0, deadline - clock()), threading.TIMEOUT_MAX)
