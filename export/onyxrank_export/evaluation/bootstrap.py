"""Bootstrap intervals over lists (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 1_000


def bootstrap(
    values: NDArray[np.float64],
    *,
    statistic: Callable[[NDArray[np.float64]], float] = np.mean,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Estimate the 95 % percentile interval of a statistic by resampling lists.

    Args:
        values: float64 [lists] or [lists, columns]; lists with a NaN are left out.
        statistic: the statistic of such an array; the mean by default.
        resamples: how many times to resample.
        seed: seed of the resampling.

    Returns:
        The lower and the upper end; NaN if no list is left.

    """
    values = values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)]
    if not len(values):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    statistics = [statistic(values[generator.integers(0, len(values), len(values))]) for _ in range(resamples)]
    low, high = np.percentile(statistics, [2.5, 97.5])
    return float(low), float(high)


def paired_ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float, float]:
    """The ratio of the means of two systems over the same lists, and its interval, list by list.

    Args:
        first: float64 [lists], a metric of one system; lists with a NaN in either are left out.
        second: the same of the other.

    """
    both = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)], axis=1)
    both = both[~np.isnan(both).any(axis=1)]
    if not len(both):
        return float("nan"), float("nan"), float("nan")
    return _ratio(both), *bootstrap(both, statistic=_ratio)


def _ratio(both: NDArray[np.float64]) -> float:
    first, second = both.mean(axis=0)
    return float(first / second) if second else float("inf") if first else float("nan")
