from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from behaviour import interactions, seasons
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import InvalidInput
from onyxrank_export.data.pairs import Sampler, Sampling, lists_of_test, lists_of_validation, training_lists
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_behaviour, split_data
from onyxrank_export.data.values import DataError

USERS, ITEMS = 4, 12


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


# The sampler


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.integers(0, 15),
    st.frozensets(st.integers(0, 11)),
    st.integers(0, 99),
)
def test_draws_are_different_allowed_and_as_many_as_there_are(weights, count, excluded, seed):
    if not sum(weights):
        weights[0] = 1
    drawn = Sampler(np.array(weights), np.random.default_rng(seed)).draw(count, excluded)
    allowed = {item for item, weight in enumerate(weights) if weight and item not in excluded}
    assert set(drawn) <= allowed
    assert len(drawn) == len(set(drawn)) == min(count, len(allowed))


def test_draws_without_replacement_follow_the_weights():
    """Against the definition: the first by weight, the next by weight of what is left."""
    weights, times = np.array([5, 1, 0, 3, 1]), 4000
    sampler = Sampler(weights, np.random.default_rng(0))
    found = Counter(tuple(sampler.draw(2, frozenset({4}))) for _ in range(times))
    left = {0: 5, 1: 1, 3: 3}
    for first, weight in left.items():
        for second, other in left.items():
            if first != second:
                expected = weight / 9 * other / (9 - weight)
                assert found[first, second] / times == pytest.approx(expected, abs=0.03)
    assert sum(found.values()) == times


@pytest.mark.parametrize("share", [1e9, 1e18])
def test_draws_end_where_one_item_has_nearly_all_the_weight(share):
    weights = np.array([share, 5, 1, 0, 3, 1])
    sampler = Sampler(weights, np.random.default_rng(0))
    first = Counter(tuple(sorted(sampler.draw(2, frozenset({0})))) for _ in range(2000))
    assert set(first) == {(1, 2), (1, 4), (1, 5), (2, 4), (2, 5), (4, 5)}
    # By weight without replacement: 5 then 3 or 3 then 5, of 10.
    assert first[1, 4] / 2000 == pytest.approx(0.5 * 3 / 5 + 0.3 * 5 / 7, abs=0.04)
    assert sorted(sampler.draw(5, frozenset())) == [0, 1, 2, 4, 5]


# Training lists


def test_a_history_is_exactly_what_was_bought_before(shop):
    lists = iter(training_lists(shop, Sampling(own_zeros=False, cold_starts=1.0)))
    for shopper in shop.shoppers:
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
    for shopper in split.shoppers:
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
    for shopper in shop.shoppers:
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


# Candidate lists


@pytest.mark.parametrize(
    ("make", "offset"),
    [(lists_of_test, -1), (lambda split: lists_of_validation(split, most=10**6), -2)],
    ids=["test", "validation"],
)
def test_a_target_stands_among_39_items_of_no_part_of_its_user(shop, make, offset):
    lists = make(shop)
    assert len(lists) == len(shop.shoppers)
    for shopper, row in zip(shop.shoppers, lists, strict=True):
        assert len(row.items) == len(set(row.items.tolist())) == 40
        [target] = row.items[row.labels == 1]
        assert target == shopper.purchases[offset]
        assert row.history == titles(shop, shopper.purchases[:offset])
        assert not shopper.touched & set(row.items[row.labels == 0].tolist())
        assert (shop.popularity[row.items[row.labels == 0]] > 0).all()
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
        with pytest.raises(DataError, match="no user has the 4 different purchases"):
            make(split)


# Search


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
