from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import InvalidInput
from onyxrank.architectures.batching import BatchLimits, micro_batches, pad
from onyxrank.request.token_ids import Ragged

PAD = 99


def slow_plan(lengths, budget):
    """Rows one at a time: a row joins the open group if the group's longest times its new size fits."""
    groups = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([], 10, []),
        ([4], 1, [[0]]),
        ([2, 2, 2], 4, [[0, 1], [2]]),
        ([1, 9, 1, 5], 10, [[1], [3, 0], [2]]),
        ([3, 20, 3], 6, [[1], [0, 2]]),
    ],
    ids=["empty", "oversize-only", "ties-in-order", "longest-first", "oversize-alone"],
)
def test_table_of_micro_batches(lengths, budget, expected):
    assert [group.tolist() for group in micro_batches(np.array(lengths, dtype=np.int64), budget)] == expected


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 200))
def test_micro_batches_equal_the_slow_reference(lengths, budget):
    groups = [group.tolist() for group in micro_batches(np.array(lengths, dtype=np.int64), budget)]
    assert groups == slow_plan(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or max(lengths[index] for index in group) * len(group) <= budget


def when_the_last_ends(sizes, at_once):
    """Micro-batches taken in order by whichever of the runs is free first."""
    ends = [0] * at_once
    for size in sizes:
        heapq.heapreplace(ends, ends[0] + size)
    return max(ends)


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 200), st.integers(2, 5))
def test_micro_batches_that_run_at_once_hold_every_row_within_the_budget(lengths, budget, at_once):
    groups = [group.tolist() for group in micro_batches(np.array(lengths, dtype=np.int64), budget, at_once)]
    # Longest first, ties in order: neighbours as in the plan of one at a time.
    assert [index for group in groups for index in group] == [
        index for group in slow_plan(lengths, budget) for index in group
    ]
    for group in groups:
        assert len(group) == 1 or max(lengths[index] for index in group) * len(group) <= budget


@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 500), st.integers(2, 5))
def test_rows_of_one_length_keep_all_runs_at_work_to_the_end(count, length, budget, at_once):
    sizes = [len(group) for group in micro_batches(np.full(count, length), budget, at_once)]
    assert when_the_last_ends(sizes, at_once) == -(-count // at_once)
    fewest = -(-len(slow_plan([length] * count, budget)) // at_once) * at_once
    assert len(sizes) <= fewest


sequences = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=9), min_size=1, max_size=12)


@given(sequences, st.randoms(use_true_random=False), st.integers(0, 12))
def test_pad_equals_the_slow_reference(made, random, width):
    rows = random.sample(range(len(made)), random.randint(1, len(made)))
    input_ids, attention_mask = pad(Ragged.of(made), np.array(rows), PAD, width)
    longest = max(width, *(len(made[row]) for row in rows))
    assert input_ids.tolist() == [made[row] + [PAD] * (longest - len(made[row])) for row in rows]
    assert attention_mask.tolist() == [[1] * len(made[row]) + [0] * (longest - len(made[row])) for row in rows]
    assert input_ids.dtype == attention_mask.dtype == np.int64


@pytest.mark.parametrize("tokens", [0, -5, True, 1.5, None], ids=repr)
def test_batch_limits_are_checked(tokens):
    with pytest.raises(InvalidInput) as caught:
        BatchLimits(micro_batch_tokens=tokens)
    assert caught.value.field == "micro_batch_tokens"
    with pytest.raises(InvalidInput) as caught:
        BatchLimits(at_once=tokens)
    assert caught.value.field == "at_once"
