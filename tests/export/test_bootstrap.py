from __future__ import annotations

import math

import numpy as np
import pytest

from onyxrank_export.evaluation.bootstrap import bootstrap, paired_ratio


def test_a_bootstrap_interval_is_the_spread_of_the_mean():
    values = np.random.default_rng(1).normal(0.5, 0.2, 400)
    low, high = bootstrap(values)
    assert (low, high) == pytest.approx((values.mean() - 0.0196, values.mean() + 0.0196), abs=0.005)
    assert bootstrap(np.append(values, np.nan)) == (low, high)
    assert all(map(math.isnan, bootstrap(np.array([np.nan]))))


def test_a_paired_ratio_is_surer_than_its_parts():
    """Lists differ much, but what is 10 % better is so on every list."""
    easy = np.random.default_rng(2).uniform(0.1, 0.9, 200)
    ratio, low, high = paired_ratio(1.1 * easy, easy)
    assert (ratio, low, high) == pytest.approx((1.1, 1.1, 1.1))
    ratio, low, high = paired_ratio(1.1 * easy, np.random.default_rng(3).permutation(easy))
    assert low < 1.05 < 1.15 < high


def test_lists_that_say_nothing_of_one_of_both_are_left_out():
    nan = math.nan
    assert paired_ratio(np.array([0.5, nan, 0.9]), np.array([0.25, 0.1, nan]))[0] == 2
    assert all(map(math.isnan, paired_ratio(np.array([nan]), np.array([0.5]))))
    assert math.isnan(paired_ratio(np.array([0.0]), np.array([0.0]))[0])
