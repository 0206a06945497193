from __future__ import annotations

import numpy as np
import pytest
from behaviour import interactions, seasons
from hypothesis import given
from hypothesis import strategies as st

from onyxrank_export.data.pairs import Sampling, training_lists
from onyxrank_export.data.splits import SearchSplit, relevance, split_behaviour, split_data, split_search
from onyxrank_export.data.values import SearchLabels

USERS, ITEMS = 4, 12


def slow_split(rows, user):
    """Purchases, how many are training, and (zero, purchases before it) pairs, by walking the rows."""
    purchases = []
    for owner, item, behavior in rows:
        if owner == user and behavior == 1 and item not in purchases:
            purchases.append(item)
    training = len(purchases) - 2 if len(purchases) >= 4 else len(purchases)
    refused, seen = [], []
    for owner, item, behavior in rows:
        if owner != user:
            continue
        if behavior == 1 and item not in seen:
            seen.append(item)
        if len(seen) > training:
            break
        if behavior == 0 and item not in purchases[:training]:
            refused.append((item, len(seen)))
    return purchases, training, refused


@given(seasons(USERS, ITEMS))
def test_each_user_is_split_as_walking_the_rows_says(rows):
    split = split_behaviour(interactions(rows, users=USERS, items=ITEMS))
    popularity = np.zeros(ITEMS, dtype=int)
    for user, shopper in enumerate(split.shoppers):
        purchases, training, refused = slow_split(rows, user)
        assert shopper.purchases.tolist() == purchases
        assert shopper.training == training
        assert shopper.tested == (len(purchases) >= 4)
        assert list(zip(shopper.refused.tolist(), shopper.refused_after.tolist(), strict=True)) == refused
        assert shopper.touched == {item for owner, item, _ in rows if owner == user}
        popularity[purchases[:training]] += 1
    assert split.popularity.tolist() == popularity.tolist()


@given(seasons(USERS, ITEMS), st.data())
def test_what_is_bought_last_changes_nothing_of_training(rows, data):
    """A leak would show: other validation and test targets, same training lists and popularity."""
    spare = 2 * USERS  # items that nobody has a row of
    before = split_behaviour(interactions(rows, users=USERS, items=ITEMS + spare))
    targets = {
        (user, int(item)): ITEMS + 2 * user + place
        for user, shopper in enumerate(before.shoppers)
        for place, item in enumerate(shopper.purchases[shopper.training :])
    }
    swapped = [
        (user, targets.get((user, item), item) if behavior == 1 else item, behavior) for user, item, behavior in rows
    ]
    after = split_behaviour(interactions(swapped, users=USERS, items=ITEMS + spare))
    assert after.popularity.tolist() == before.popularity.tolist()
    sampling = Sampling(seed=data.draw(st.integers(0, 3)), cold_starts=0.5)
    one, other = training_lists(before, sampling), training_lists(after, sampling)
    assert [(row.history, row.items.tolist()) for row in one] == [(row.history, row.items.tolist()) for row in other]


@pytest.mark.parametrize(
    ("bought", "training"),
    [([], 0), ([1], 1), ([1, 2, 3], 3), ([1, 2, 3, 4], 2), ([1, 1, 2, 2, 3, 1], 3), ([1, 2, 3, 4, 5, 1], 3)],
    ids=["none", "one", "three", "four", "three-with-repeats", "five-and-a-repeat"],
)
def test_users_with_four_different_purchases_are_tested(bought, training):
    rows = [(0, item, 1) for item in bought] or [(0, 1, 0)]
    [shopper] = split_behaviour(interactions(rows, users=1, items=6)).shoppers
    assert shopper.training == training
    assert shopper.tested == (len(set(bought)) >= 4)
    assert shopper.purchases.tolist() == list(dict.fromkeys(bought))


def test_zeros_count_only_before_the_validation_target_and_only_of_items_not_bought():
    rows = [(0, 9, 0), (0, 1, 1), (0, 2, 0), (0, 2, 1), (0, 8, 0), (0, 3, 1), (0, 7, 0), (0, 4, 1), (0, 6, 0)]
    [shopper] = split_behaviour(interactions(rows, users=1, items=10)).shoppers
    assert shopper.training == 2
    assert shopper.refused.tolist() == [9, 8]
    assert shopper.refused_after.tolist() == [0, 2]
    assert {6, 7} < shopper.touched


def test_the_demo_shop_is_split_by_time(shop_data):
    from onyxrank_export.data.reading import read_data

    data = read_data(shop_data)
    split = split_data(data)
    first = {
        (user, item): row for row, (user, item) in reversed(list(enumerate(zip(data.user, data.item, strict=True))))
    }
    for user, shopper in enumerate(split.shoppers):
        assert shopper.tested
        rows = [first[user, item] for item in shopper.purchases if not set(shopper.refused) & {item}]
        assert rows == sorted(rows)
    assert split.popularity.sum() == sum(shopper.training for shopper in split.shoppers)


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
