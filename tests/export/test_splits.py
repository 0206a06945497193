from __future__ import annotations

import numpy as np
import pytest
from behaviour import interactions
from hypothesis import given
from hypothesis import strategies as st

from onyxrank_export.data.splits import SearchSplit, relevance, split_data, split_search
from onyxrank_export.data.values import SearchLabels


def labels(queries, items, rows):
    columns = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return SearchLabels(
        items=interactions([], users=0, items=items).items,
        queries=tuple(f"query {number}" for number in range(queries)),
        query_ids=tuple(f"q{number}" for number in range(queries)),
        query=columns[:, 0].astype(np.int32),
        item=columns[:, 1].astype(np.int32),
        label=columns[:, 2].astype(np.float32),
        fingerprint="0",
    )


@given(st.integers(3, 60), st.integers(0, 5))
def test_whole_queries_go_to_one_part_each(queries, seed):
    split = split_search(labels(queries, 4, [(query, query % 4, 1 + query % 3) for query in range(queries)]), seed)
    parts = [split.training, split.validation, split.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(queries))
    assert all((np.diff(part) > 0).all() for part in parts)
    assert len(split.test) == len(split.validation) == max(1, round(0.1 * queries))
    good = [query for query in split.training if query % 3 == 2 or query % 3 == 1]
    assert split.popularity.tolist() == [sum(query % 4 == item for query in good) for item in range(4)]


def test_the_parts_of_search_follow_from_the_seed():
    data = labels(40, 2, [(query, 0, query % 2) for query in range(40)])
    assert isinstance(split_data(data), SearchSplit)
    assert split_search(data).test.tolist() == split_search(data).test.tolist()
    assert split_search(data, seed=2).test.tolist() != split_search(data).test.tolist()


@pytest.mark.parametrize(
    ("grades", "expected"),
    [([1, 2, 3], [0, 0.5, 1]), ([0, 1, 0], [0, 1, 0]), ([-2, 2, 0], [0, 1, 0.5])],
    ids=["graded", "binary", "negative"],
)
def test_grades_are_mapped_to_between_zero_and_one(grades, expected):
    result = relevance(np.array(grades, dtype=np.float32))
    assert result.dtype == np.float32
    assert result.tolist() == expected
