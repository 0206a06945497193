from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from behaviour import interactions, seasons
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import InvalidInput
from onyxrank_export.data.pairs import Sampling, training_lists
from onyxrank_export.data.shoppers import SPLITS
from onyxrank_export.data.splits import split_behaviour, split_data

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
        assert bool(shopper.test) == (len(purchases) >= 4)
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
    assert bool(shopper.test) == (len(set(bought)) >= 4)
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
        assert shopper.test
        rows = [first[user, item] for item in shopper.purchases if not set(shopper.refused) & {item}]
        assert rows == sorted(rows)
    assert split.popularity.sum() == sum(shopper.training for shopper in split.shoppers)


@st.composite
def timed(draw):
    """Interactions of some seasons, several of them in the same second."""
    rows = draw(seasons(USERS, ITEMS))
    times = draw(st.lists(st.integers(0, 12), min_size=len(rows), max_size=len(rows)))
    return replace(interactions(rows, users=USERS, items=ITEMS), timestamp=np.sort(np.array(times, np.int64)))


def ranges(shopper):
    return [*shopper.validation, *shopper.test]


@given(timed(), st.sampled_from(["last", "time"]))
def test_baskets_are_held_out_whole(data, way):
    for shopper in split_behaviour(data, way).shoppers:
        times = shopper.times.tolist()
        assert times == sorted(times)
        for start, end in ranges(shopper):
            assert 0 < start < end
            assert len(set(times[start:end])) == 1
            assert times[start - 1] < times[start]
            assert end == len(times) or times[end] > times[start]
            assert start >= shopper.training


@given(timed())
def test_the_last_basket_is_test_and_the_one_before_validation(data):
    for shopper in split_behaviour(data).shoppers:
        seconds = sorted(set(shopper.times.tolist()))
        if len(shopper.purchases) < 4 or len(seconds) < 2:
            assert not ranges(shopper)
            assert shopper.training == len(shopper.purchases)
            continue
        [(start, end)] = shopper.test
        assert (shopper.times[start], end) == (seconds[-1], len(shopper.purchases))
        assert [int(shopper.times[begin]) for begin, _ in shopper.validation] == seconds[-2:-1][: len(seconds) - 2]
        assert shopper.training == min(start for start, _ in ranges(shopper))


@given(timed())
def test_by_time_nothing_of_training_is_later_than_what_is_held_out(data):
    split = split_behaviour(data, "time")
    learnt = [shopper.times[: shopper.training].max() for shopper in split.shoppers if shopper.training]
    held_out = [shopper.times[start] for shopper in split.shoppers for start, _ in ranges(shopper)]
    if learnt and held_out:
        assert max(learnt) < min(held_out)
    validation = [shopper.times[start] for shopper in split.shoppers for start, _ in shopper.validation]
    test = [shopper.times[start] for shopper in split.shoppers for start, _ in shopper.test]
    if validation and test:
        assert max(validation) < min(test)


@given(timed(), st.sampled_from(SPLITS))
def test_zeros_of_training_are_earlier_than_what_is_held_out(data, way):
    for shopper in split_behaviour(data, way).shoppers:
        firsts = [start for start, _ in ranges(shopper)]
        assert len(shopper.refused) == len(shopper.refused_after)
        if firsts:
            assert (shopper.refused_after <= min(firsts)).all()


@pytest.mark.parametrize("way", ["last", "time"])
def test_the_order_within_a_second_is_that_of_the_ids(way):
    rows = [(0, item, 1) for item in (5, 3, 9, 1, 7)]
    data = replace(interactions(rows, users=1, items=12), timestamp=np.array([1, 1, 2, 2, 3]))
    [shopper] = split_behaviour(data, way).shoppers
    assert shopper.purchases.tolist() == [3, 5, 1, 9, 7]


def test_a_way_to_split_that_is_not_there_names_those_that_are():
    with pytest.raises(InvalidInput, match=", ".join(SPLITS)) as caught:
        split_behaviour(interactions([(0, 1, 1)], users=1, items=3), "lats")
    assert caught.value.field == "split"
