"""A test of a mean that looks at growing numbers of lists, with the error of looking more than once kept.

1. The numbers of lists are told beforehand: 128, doubled until the limit (`looks`).
2. At each look an interval around the mean is made. What it may err by is what the spending function of Lan and
DeMets
   1983, "Discrete Sequential Boundaries for Clinical Trials", equation 4 (of O'Brien and Fleming's kind) grants until
   this look, less what was spent before: early looks get next to nothing, the last one nearly all. All looks together
   err at most by the whole, whatever depends on what (the union bound; exact boundaries would be a little closer).
3. Intervals are Student's, with two made-up lists of a given spread added, one on each side, as Agresti and Coull
1998 add
   made-up trials to a share: otherwise lists that are all alike by luck would look certain.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

FIRST_LOOK = 128


def looks(limit: int) -> tuple[int, ...]:
    """The numbers of lists at which to look: 128, doubled while the limit is far, and at last the limit itself."""
    found = []
    size = FIRST_LOOK
    while 1.5 * size <= limit:
        found.append(size)
        size *= 2
    return (*found, limit)


def errors(limit: int, error: float) -> tuple[float, ...]:
    """What the interval of each of the `looks` may err by, on one side.

    Args:
        limit: the most lists.
        error: what all looks together may err by.

    """
    quantile = float(norm.ppf(1 - error / 2))
    spent = [2 * float(norm.sf(quantile / math.sqrt(look / limit))) for look in looks(limit)]
    return tuple(float(step) for step in np.diff([0.0, *spent]))


def mean_interval(values: NDArray[np.float64], error: float, spread: float) -> tuple[float, float]:
    """An interval that the mean is below, and above, with a chance of at most `error` each.

    Args:
        values: float64 [lists], at least one.
        error: the chance; 0 gives all numbers.
        spread: how far the two made-up lists are from the mean.

    """
    if error <= 0:
        return -math.inf, math.inf
    half = float(t.isf(error, len(values) + 1)) * _deviation(values, spread) / math.sqrt(len(values) + 2)
    mean = float(values.mean())
    return mean - half, mean + half


def lists_needed(values: NDArray[np.float64], limit: float, error: float, spread: float) -> int | None:
    """How many lists like these it would take to tell their mean from a limit; None if they do not differ.

    Args:
        values: float64 [lists].
        limit: what the mean is compared with.
        error: what the whole test may err by, on one side.
        spread: as of `mean_interval`.

    """
    distance = abs(float(values.mean()) - limit)
    if distance == 0:
        return None
    return math.ceil((float(norm.isf(error)) * _deviation(values, spread) / distance) ** 2)


def _deviation(values: NDArray[np.float64], spread: float) -> float:
    """The standard deviation of the lists, the two made-up ones among them."""
    squares = float(((values - values.mean()) ** 2).sum()) + 2 * spread**2
    return math.sqrt(squares / (len(values) + 1))
