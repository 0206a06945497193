from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from behaviour import interactions, seasons
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import InvalidInput
from onyxrank_export.data.pairs import Sampling, training_lists
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_behaviour, split_data

USERS, ITEMS = 4, 12


@pytest.fixture(scope="module")
def shop(shop_data):
    return split_data(read_data(shop_data))


def plain(lists):
    return [(row.history, row.items.tolist(), row.labels.tolist()) for row in lists]


def titles(split, items):
    return tuple(split.data.items[item].title for item in items)


def by_id(split):
    return [
        shopper for _, shopper in sorted(zip(split.data.users, split.shoppers, strict=True), key=lambda it: it[0])
    ]


def test_a_history_is_exactly_what_was_bought_before(shop):
    lists = iter(training_lists(shop, Sampling(own_zeros=False, cold_starts=1.0)))
    for shopper in by_id(shop):
        for position in range(shopper.training):
            row = next(lists)
            assert row.history == titles(shop, shopper.purchases[:position])
            assert row.items[0] == shopper.purchases[position]
            assert row.labels.tolist() == [1, 0, 0, 0]
            assert not set(row.items[1:].tolist()) & set(shopper.purchases[: shopper.training].tolist())
            assert len(set(row.items.tolist())) == 4
    assert next(lists, None) is None


@given(seasons(USERS, ITEMS), st.integers(0, 6), st.floats(0, 1), st.integers(0, 3))
def test_negatives_were_never_bought_in_training(rows, negatives, popular, seed):
    split = split_behaviour(interactions(rows, users=USERS, items=ITEMS))
    sampling = Sampling(negatives=negatives, popular=popular, own_zeros=False, cold_starts=1.0, seed=seed)
    lists = iter(training_lists(split, sampling))
    for shopper in by_id(split):
        bought = set(shopper.purchases[: shopper.training].tolist())
        for position in range(shopper.training):
            row = next(lists)
            assert row.items[0] == shopper.purchases[position]
            assert not bought & set(row.items[1:].tolist())
            assert len(row.items) == 1 + min(negatives, ITEMS - len(bought))


def test_own_zeros_come_with_what_was_bought_before_them():
    rows = [(0, 9, 0), (0, 1, 1), (0, 8, 0), (0, 2, 1), (0, 7, 0), (0, 3, 1), (0, 6, 0), (0, 4, 1), (0, 5, 0)]
    split = split_behaviour(interactions(rows, users=1, items=10))
    zeros = [row for row in training_lists(split, Sampling(cold_starts=0.0)) if not row.labels.any()]
    assert plain(zeros) == [(("title 1",), [8], [0.0]), (("title 1", "title 2"), [7], [0.0])]
    assert all(row.labels.any() for row in training_lists(split, Sampling(own_zeros=False)))


def test_every_epoch_has_as_many_pairs_and_fresh_negatives(shop):
    epochs = [training_lists(shop, Sampling(), epoch) for epoch in range(3)]
    assert len({(len(lists), sum(len(row.items) for row in lists)) for lists in epochs}) == 1
    for first, second in zip(epochs[0], epochs[1], strict=True):
        assert (first.history, first.items[0]) == (second.history, second.items[0])
    same = np.mean(
        [set(a.items.tolist()) == set(b.items.tolist()) for a, b in zip(*epochs[:2], strict=True) if a.labels.any()]
    )
    assert same < 0.05


def test_training_lists_follow_from_the_seed(shop):
    assert plain(training_lists(shop, Sampling(seed=5), 1)) == plain(training_lists(shop, Sampling(seed=5), 1))
    assert plain(training_lists(shop, Sampling(seed=5), 1)) != plain(training_lists(shop, Sampling(seed=6), 1))


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_share_of_users_starts_cold(shop, share):
    lists = training_lists(shop, Sampling(cold_starts=share))
    cold = sum(not row.history for row in lists) / len(shop.shoppers)
    assert cold == pytest.approx(share, abs=0.06)


def test_popular_items_are_drawn_more_often(shop):
    def mean_popularity(popular):
        lists = training_lists(shop, Sampling(popular=popular, own_zeros=False))
        return np.mean([shop.popularity[row.items[1:]].mean() for row in lists])

    assert mean_popularity(1.0) > 1.2 * mean_popularity(0.0)


def test_a_higher_power_draws_popular_items_more_often_still_and_unbought_ones_never(shop):
    def drawn(power):
        lists = training_lists(shop, Sampling(popular=1.0, popularity_power=power, own_zeros=False))
        return np.concatenate([shop.popularity[row.items[1:]] for row in lists])

    assert drawn(2.0).mean() > 1.2 * drawn(1.0).mean() > 1.2 * 1.05 * drawn(0.0).mean()
    assert drawn(0.0).min() >= 1


def test_around_gives_every_purchase_all_others_of_training_as_its_history(shop):
    lists = iter(training_lists(shop, Sampling(own_zeros=False, cold_starts=0.0, around=1.0)))
    for shopper in by_id(shop):
        bought = shopper.purchases[: shopper.training]
        for position in range(shopper.training if shopper.training > 1 else 0):
            row = next(lists)
            assert row.history == titles(shop, np.delete(bought, position))
            assert row.items[0] == bought[position]
    assert next(lists, None) is None


def test_a_share_around_draws_histories_anew_and_never_reads_what_is_held_out():
    rows = [(0, item, 1) for item in range(8)]
    split = split_behaviour(interactions(rows, users=1, items=30))
    epochs = [training_lists(split, Sampling(around=0.5, cold_starts=0.0), epoch) for epoch in range(20)]
    assert {len(lists) for lists in epochs} == {6}
    for position in range(6):
        before = tuple(f"title {item}" for item in range(position))
        around = tuple(f"title {item}" for item in range(6) if item != position)
        wanted = {around} if position in (0, 5) else {before, around}
        assert {lists[position].history for lists in epochs} == wanted


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("negatives", -1),
        ("popular", 1.5),
        ("popular", float("nan")),
        ("popularity_power", -0.5),
        ("popularity_power", float("inf")),
        ("around", 1.1),
        ("cold_starts", -0.1),
        ("seed", -1),
    ],
)
def test_impossible_sampling_is_refused(field, value):
    with pytest.raises(InvalidInput, match=field) as caught:
        Sampling(**{field: value})
    assert caught.value.field == field


def test_the_order_of_rows_users_and_items_in_the_files_changes_nothing(shop_data, tmp_path):
    folder = shutil.copytree(shop_data, tmp_path / "shuffled")
    for name in ("interactions", "items"):
        table = pl.read_parquet(folder / f"{name}.parquet")
        table.sample(fraction=1.0, shuffle=True, seed=3).write_parquet(folder / f"{name}.parquet")

    def told(data):
        split = split_data(read_data(data))
        ids = [item.id for item in split.data.items]
        lists = training_lists(split, Sampling(around=0.3), epoch=1)
        return [(row.history, [ids[item] for item in row.items], row.labels.tolist()) for row in lists]

    assert told(folder) == told(shop_data)
