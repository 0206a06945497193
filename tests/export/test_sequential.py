from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank_export.conversion.sequential import FIRST_LOOK, errors, lists_needed, looks, mean_interval


@given(st.integers(1, 20_000))
def test_looks_double_up_to_the_limit(limit):
    found = looks(limit)
    assert found[-1] == limit
    assert list(found) == sorted(set(found))
    assert all(later == 2 * earlier for earlier, later in pairwise(found[:-1]))
    assert len(found) == 1 or found[0] == FIRST_LOOK


@given(st.integers(1, 20_000), st.floats(0.001, 0.05))
def test_all_looks_together_err_by_the_whole_and_early_ones_by_little(limit, error):
    spent = errors(limit, error)
    assert len(spent) == len(looks(limit))
    assert sum(spent) == pytest.approx(error)
    assert spent[0] <= spent[-1]


def test_the_interval_of_one_look_is_students():
    values = np.random.default_rng(0).normal(0.3, 0.1, 500)
    low, high = mean_interval(values, 0.025, 0.0)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(1.965 * values.std() / math.sqrt(500), rel=0.01)
    assert mean_interval(values, 0.0, 0.1) == (-math.inf, math.inf)


def test_lists_that_are_all_alike_are_not_certain():
    low, high = mean_interval(np.zeros(128), 0.02, 0.5)
    assert low < -0.005
    assert high > 0.005


@pytest.mark.parametrize("limit", [128, 1024])
def test_a_mean_at_the_limit_passes_no_oftener_than_told(limit):
    """Changes of a tenth of the lists, as quantization makes them; each run looks as often as the gate does."""
    generator, error, passed, runs = np.random.default_rng(1), 0.02, 0, 3000
    spent = list(zip(looks(limit), errors(limit, error), strict=True))
    for _ in range(runs):
        values = np.where(generator.random(limit) < 0.1, generator.normal(0, 0.15, limit), 0.0)
        passed += any(mean_interval(values[:look], part, 0.0)[0] > 0 for look, part in spent)
    assert passed / runs < 1.5 * error


def test_about_as_many_lists_are_needed_as_tell_the_mean_from_the_limit():
    generator = np.random.default_rng(2)
    values = generator.normal(0.01, 0.1, 400)
    needed = lists_needed(values, 0.0, 0.02, 0.0)
    samples = [generator.normal(values.mean(), values.std(), needed) for _ in range(400)]
    assert 0.35 < np.mean([mean_interval(sample, 0.02, 0.0)[0] > 0 for sample in samples]) < 0.65
    assert lists_needed(np.zeros(10), 0.0, 0.02, 0.5) is None
