"""Deadlines: seconds that a call may take, made a moment of a clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

from onyxrank.errors import InvalidInput


def moment(deadline: object, clock: Callable[[], float]) -> float | None:
    """When seconds from now will have passed; None stays None. A deadline of 0 or less has passed already.

    Raises:
        InvalidInput: if it is no number.

    """
    if deadline is None:
        return None
    if isinstance(deadline, bool) or not isinstance(deadline, Real) or math.isnan(deadline):
        shown = repr(deadline) if isinstance(deadline, Real) else type(deadline).__name__
        raise InvalidInput(f"deadline must be seconds from now, not {shown}", field="deadline")
    return clock() + float(deadline)
