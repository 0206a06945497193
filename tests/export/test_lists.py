from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from behaviour import interactions

from onyxrank import InvalidInput
from onyxrank_export.data.lists import PROTOCOLS, lists_of_test, lists_of_validation
from onyxrank_export.data.pairs import Sampling, training_lists
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_behaviour, split_data
from onyxrank_export.data.values import DataError


@pytest.fixture(scope="module")
def shop(shop_data):
    return split_data(read_data(shop_data))


@pytest.fixture(scope="module")
def search(search_data):
    return split_data(read_data(search_data))


def plain(lists):
    return [(row.history, row.items.tolist(), row.labels.tolist()) for row in lists]


def titles(split, items):
    return tuple(split.data.items[item].title for item in items)


def by_id(split):
    return [
        shopper for _, shopper in sorted(zip(split.data.users, split.shoppers, strict=True), key=lambda it: it[0])
    ]


@pytest.mark.parametrize(
    ("make", "offset"),
    [(lists_of_test, -1), (lambda split: lists_of_validation(split, most=10**6), -2)],
    ids=["test", "validation"],
)
def test_a_target_stands_among_39_items_of_no_part_of_its_user(shop, make, offset):
    lists = make(shop)
    assert len(lists) == len(shop.shoppers)
    for shopper, row in zip(by_id(shop), lists, strict=True):
        assert len(row.items) == len(set(row.items.tolist())) == 40
        [target] = row.items[row.labels == 1]
        assert target == shopper.purchases[offset]
        assert row.history == titles(shop, shopper.purchases[:offset])
        assert row.events.tolist() == shopper.purchases[:offset].tolist()
        assert row.waited == shopper.times[offset] - shopper.times[offset - 1]
        assert not shopper.touched & set(row.items[row.labels == 0].tolist())
    places = Counter(int(row.labels.argmax()) for row in lists)
    assert max(places.values()) < len(lists) / 5


def test_candidate_lists_are_the_same_every_time(shop):
    assert plain(lists_of_test(shop)) == plain(lists_of_test(shop))
    assert plain(lists_of_validation(shop, most=20)) == plain(lists_of_validation(shop, most=20))
    assert plain(lists_of_validation(shop, most=20)) != plain(lists_of_validation(shop, most=20, seed=2))


def test_fewer_lists_are_a_sample_of_all(shop):
    targets = [row.history for row in lists_of_test(shop, most=30)]
    everyone = [row.history for row in lists_of_test(shop)]
    places = [everyone.index(history) for history in targets]
    assert len(places) == 30
    assert places == sorted(places)
    assert places != list(range(30))
    assert plain(lists_of_test(shop, most=10**6)) == plain(lists_of_test(shop))


@pytest.mark.parametrize("most", [0, -1])
def test_no_lists_at_all_cannot_be_asked_for(shop, search, most):
    for split in (shop, search):
        with pytest.raises(InvalidInput, match="at least 1 list"):
            lists_of_test(split, most=most)


def test_data_without_anyone_to_test_says_what_a_test_needs():
    split = split_behaviour(interactions([(0, 1, 1), (0, 2, 1)], users=1, items=3))
    for make in (lists_of_test, lambda split: lists_of_validation(split, most=5)):
        with pytest.raises(DataError, match="4 different purchases at 2 different times"):
            make(split)


def test_full_lists_are_the_whole_catalogue_but_for_what_the_shopper_has(shop):
    lists = lists_of_test(shop, protocol="full")
    assert len(lists) == len(shop.shoppers)
    assert plain(lists[:3]) == plain([lists[0], lists[1], lists[2]])
    for shopper, row in zip(by_id(shop), lists, strict=True):
        have = set(row.events.tolist())
        assert row.items.tolist() == [item for item in range(len(shop.data.items)) if item not in have]
        assert row.items[row.labels > 0].tolist() == [shopper.purchases[-1]]


@pytest.mark.parametrize("protocol", ["full", "sampled"])
def test_popularity_gives_no_target_away(protocol):
    """Items that nobody bought in training are among the candidates, whether or not one of them is the target."""
    rows = [(user, 4 * user + place, 1) for user in range(10) for place in range(4)]
    split = split_behaviour(interactions(rows, users=10, items=60))
    lists = lists_of_test(split, protocol=protocol)
    unsold = [split.popularity[row.items] == 0 for row in lists]
    assert all((each & (row.labels == 0)).any() for each, row in zip(unsold, lists, strict=True))


def test_the_old_protocol_draws_no_item_that_nobody_bought(shop):
    lists = lists_of_test(shop, protocol="sampled-v1")
    assert all((shop.popularity[row.items[row.labels == 0]] > 0).all() for row in lists)


def test_a_basket_is_ranked_as_a_whole():
    data = interactions([(0, item, 1) for item in range(6)], users=1, items=50)
    split = split_behaviour(replace(data, timestamp=np.array([10, 20, 20, 30, 40, 40])))
    [row] = lists_of_test(split)
    assert sorted(row.items[row.labels > 0].tolist()) == [4, 5]
    assert row.events.tolist() == [0, 1, 2, 3]
    assert (len(row.items), row.waited) == (2 + 39, 10)
    [row] = lists_of_validation(split, most=5, protocol="full")
    assert row.items[row.labels > 0].tolist() == [3]
    assert row.events.tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", ["full", "sampled"])
def test_the_order_of_the_files_changes_no_list(shop_data, tmp_path, protocol):
    folder = shutil.copytree(shop_data, tmp_path / "shuffled")
    for name in ("interactions", "items"):
        table = pl.read_parquet(folder / f"{name}.parquet")
        table.sample(fraction=1.0, shuffle=True, seed=3).write_parquet(folder / f"{name}.parquet")

    def told(data):
        split = split_data(read_data(data))
        ids = [item.id for item in split.data.items]
        lists = lists_of_test(split, most=20, protocol=protocol)
        return [
            (row.history, sorted(zip((ids[item] for item in row.items), row.labels.tolist(), strict=True)))
            for row in lists
        ]

    assert told(folder) == told(shop_data)


def test_a_protocol_that_is_not_there_names_those_that_are(shop):
    with pytest.raises(InvalidInput, match=", ".join(PROTOCOLS)) as caught:
        lists_of_test(shop, protocol="ful")
    assert caught.value.field == "protocol"


def test_a_list_of_search_is_what_a_query_was_labelled_with(search):
    data = search.data
    for make, part in (
        (lambda: training_lists(search, Sampling()), search.training),
        (lambda: lists_of_validation(search, most=10**6), search.validation),
        (lambda: lists_of_test(search), search.test),
    ):
        lists = make()
        assert len(lists) == len(part)
        for query, row in zip(part, lists, strict=True):
            rows = data.query == query
            assert row.history == (data.queries[query],)
            assert row.items.tolist() == data.item[rows].tolist()
            assert row.labels.tolist() == ((data.label[rows] - 1) / 2).tolist()


def test_fewer_lists_of_search_are_a_sample_too(search):
    everyone = plain(lists_of_test(search))
    some = plain(lists_of_test(search, most=3))
    assert len(some) == 3
    assert all(row in everyone for row in some)
    assert some != everyone[:3]


def test_search_data_too_small_to_split_says_so(tmp_path):
    from aisles import write_search

    split = split_data(read_data(write_search(tmp_path / "two", queries=2)))
    with pytest.raises(DataError, match="none for the training part"):
        training_lists(split, Sampling())


def test_labels_that_are_all_the_same_are_refused(search_data, tmp_path):
    import shutil

    import polars as pl

    folder = shutil.copytree(search_data, tmp_path / "same")
    table = pl.read_parquet(folder / "labels.parquet")
    table.with_columns(label=pl.lit(1)).write_parquet(folder / "labels.parquet")
    with pytest.raises(DataError, match="all are the same"):
        split_data(read_data(folder))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shoppers_who_have_everything_cannot_be_measured(protocol):
    rows = [(user, item, 1) for user in range(2) for item in range(5)]
    split = split_behaviour(interactions(rows, users=2, items=5))
    with pytest.raises(DataError, match="no list of the test part has an item that its user lacks"):
        lists_of_test(split, protocol=protocol)
    more = split_behaviour(interactions([*rows, (2, 0, 1), (2, 1, 1), (2, 2, 1), (2, 3, 1)], users=3, items=5))
    if protocol != "sampled-v1":  # it draws only what was bought in training
        assert len(lists_of_test(more, protocol=protocol)) == 3
