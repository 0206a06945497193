from __future__ import annotations

import numpy as np
import pytest

from onyxrank import InvalidInput, Item
from onyxrank.bundle.opening import open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.measure.requests import Pool, Size, Workload, make_request

POOL = Pool(
    events=["steel tent pegs", "camping stove with coffee grinder", "red wool yarn", "desk lamp"],
    items=[
        Item("a", "office chair", "large and light office chair for the desk"),
        Item("b", "running shoes blue small", ""),
        Item("c", "steel camping stove", " ".join(["garden hose"] * 30)),
    ],
)


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return open_bundle(tiny_bundle)


def workload(history=20, items=7, item=12):
    return Workload(name="w", history_tokens=history, items=items, item_tokens=item)


def size(bundle, request):
    encoded = load_encoder(bundle).encode(request.history, request.items)
    assert not encoded.cuts
    return Size.of(encoded)


@pytest.mark.parametrize(("history", "items", "item"), [(1, 1, 1), (20, 7, 12), (64, 40, 32)])
def test_made_up_requests_have_exactly_the_size(bundle, history, items, item):
    made = size(bundle, make_request(bundle, workload(history, items, item)))
    assert made == Size(history_tokens=history, items=items, item_tokens_mean=item, item_tokens_max=item)


@pytest.mark.parametrize("history", [*range(1, 20), 64])
def test_a_pool_fills_the_history_exactly(bundle, history):
    made = size(bundle, make_request(bundle, workload(history), pool=POOL))
    assert made.history_tokens == history


def test_real_items_keep_their_texts_up_to_the_limit(bundle):
    request = make_request(bundle, workload(items=3, item=12), pool=POOL)
    titles = {item.title: item.description for item in request.items}
    assert titles["running shoes blue small"] == ""
    assert titles["office chair"] == "large and light office chair for the desk"
    assert titles["steel camping stove"] == "garden hose garden hose garden hose garden hose garden"
    assert size(bundle, request).item_tokens_max == 12


def test_an_overlong_title_is_cut_and_its_description_left_out(bundle):
    request = make_request(bundle, workload(items=3, item=2), pool=POOL)
    assert {(item.title, item.description) for item in request.items} == {
        ("office chair", ""),
        ("running shoes", ""),
        ("steel camping", ""),
    }


def test_more_items_than_the_pool_has(bundle):
    request = make_request(bundle, workload(items=8), pool=POOL)
    assert [item.id for item in request.items] == [str(number) for number in range(8)]


@pytest.mark.parametrize("pool", [None, POOL], ids=["made-up", "pool"])
def test_the_first_items_do_not_depend_on_how_many_there_are(bundle, pool):
    small = make_request(bundle, workload(items=3), pool=pool, seed=5)
    assert make_request(bundle, workload(items=9), pool=pool, seed=5).first(3) == small
    assert make_request(bundle, workload(items=3), pool=pool, seed=6) != small


@pytest.mark.parametrize(("history", "item", "field"), [(65, 8, "history_tokens"), (8, 33, "item_tokens")])
def test_a_workload_beyond_the_limits_is_refused(bundle, history, item, field):
    with pytest.raises(InvalidInput, match=f"{field} is .* at most") as error:
        make_request(bundle, workload(history, 2, item))
    assert error.value.field == field


@pytest.mark.parametrize("field", ["history_tokens", "items", "item_tokens"])
def test_a_workload_has_whole_numbers_of_at_least_one(field):
    with pytest.raises(InvalidInput, match=field):
        Workload(**{"name": "w", "history_tokens": 1, "items": 1, "item_tokens": 1, field: 0})


def test_an_empty_pool_is_refused():
    with pytest.raises(InvalidInput, match="a pool needs"):
        Pool(events=[], items=[Item("a", "b")])


def test_size_leaves_special_tokens_out(bundle):
    encoded = load_encoder(bundle).encode(["red blue"], [Item("0", "green"), Item("1", "large small")])
    assert len(encoded.history) == 4
    assert np.array_equal(encoded.items.lengths, [2, 3])
    assert Size.of(encoded) == Size(history_tokens=2, items=2, item_tokens_mean=1.5, item_tokens_max=2)
