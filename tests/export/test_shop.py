from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from onyxrank_export.data.reading import read_data
from onyxrank_export.data.shop import build_shop, write_shop
from onyxrank_export.data.shop_season import DAYS, FIRST_SECOND
from onyxrank_export.data.shop_words import vocabulary
from onyxrank_export.data.values import DataError

SMALL = {"n_items": 200, "n_shoppers": 30}


@pytest.fixture(scope="module")
def shop():
    return build_shop()


def test_a_shop_is_the_same_every_time():
    one, other = build_shop(seed=3, **SMALL), build_shop(seed=3, **SMALL)
    assert all(getattr(one, field.name) == getattr(other, field.name) for field in fields(one))


def test_a_shop_is_the_same_everywhere(tmp_path):
    # Deliberate changes to the shop change this; another version of Python or numpy must not.
    write_shop(tmp_path, **SMALL)
    assert read_data(tmp_path).fingerprint == "10a1eafec13a3a63dc92eb54782219840d9fdbc35b268952f55001700fe99ddc"


def test_another_seed_is_another_shop():
    one, other = build_shop(seed=0, **SMALL), build_shop(seed=1, **SMALL)
    assert {p.item.title for p in one.products} != {p.item.title for p in other.products}
    assert one.seasons != other.seasons


def test_shoppers_do_not_depend_on_how_many_there_are():
    few, many = build_shop(n_items=200, n_shoppers=5), build_shop(n_items=200, n_shoppers=9)
    assert many.products == few.products
    assert many.shoppers[:5] == few.shoppers
    assert many.seasons[:5] == few.seasons


def test_the_catalogue_is_plausible(shop):
    items = [product.item for product in shop.products]
    assert len(items) == len({item.id for item in items}) == len({item.title for item in items}) == 2000
    departments = Counter(product.department for product in shop.products)
    assert len(departments) == 12
    assert min(departments.values()) > 100
    sentences = [item.description.count(". ") + item.description.endswith(".") for item in items]
    assert max(sentences) == 4
    assert 0.01 < sentences.count(0) / len(sentences) < 0.06
    assert not any(mark in item.title + item.description for item in items for mark in "{}")
    assert all(item.title == item.title.strip() and "  " not in item.title for item in items)


def test_dear_brands_cost_more(shop):
    for kind in ("dome tent", "wok", "turntable"):
        prices = [
            [product.price for product in shop.products if (product.kind, product.level) == (kind, level)]
            for level in range(3)
        ]
        means = [np.mean(level) for level in prices if level]
        assert means == sorted(means)


def test_shoppers_buy_and_leave(shop):
    assert len(shop.shoppers) == 1500
    bought = [sum(event.behavior for event in season) for season in shop.seasons]
    left = [len(season) - purchases for season, purchases in zip(shop.seasons, bought, strict=True)]
    assert (min(bought), max(bought)) == (6, 15)
    assert 0.8 < sum(left) / sum(bought) < 1.6
    assert all(len({event.product for event in season}) == len(season) for season in shop.seasons)
    assert {len(shopper.tastes) for shopper in shop.shoppers} == {1, 2, 3}


def test_seasons_run_in_time(shop):
    for season in shop.seasons:
        seconds = [event.timestamp for event in season]
        assert seconds == sorted(seconds)
        assert seconds[0] >= FIRST_SECOND
        assert seconds[-1] < FIRST_SECOND + DAYS * 86_400
    spans = [season[-1].timestamp - season[0].timestamp for season in shop.seasons]
    assert np.median(spans) > 60 * 86_400


def share(shop, behavior, fits):
    hits = [
        fits(shopper, shop.products[event.product])
        for shopper, season in zip(shop.shoppers, shop.seasons, strict=True)
        for event in season
        if event.behavior == behavior
    ]
    return np.mean(hits)


@pytest.mark.parametrize(
    ("fits", "bought", "left"),
    [
        (lambda s, p: p.level == s.budget, (0.6, 1.0), (0.1, 0.4)),
        (lambda s, p: p.theme in {taste.theme for taste in s.tastes}, (0.6, 0.8), (0.3, 0.6)),
        (lambda s, p: p.brand in {taste.brand for taste in s.tastes}, (0.3, 0.6), (0.0, 0.1)),
        (lambda s, p: p.colour in {taste.colour for taste in s.tastes}, (0.2, 0.5), (0.05, 0.2)),
    ],
    ids=["budget", "theme", "brand", "colour"],
)
def test_what_is_bought_fits_and_what_is_left_does_not(shop, fits, bought, left):
    assert bought[0] < share(shop, 1, fits) < bought[1]
    assert left[0] <= share(shop, 0, fits) < left[1]


def test_popularity_has_a_long_tail(shop):
    purchases = Counter(event.product for season in shop.seasons for event in season if event.behavior)
    counts = sorted(purchases.values(), reverse=True)
    assert len(purchases) > 1800
    assert sum(counts[:200]) > 0.25 * sum(counts)
    assert counts[0] < 0.02 * sum(counts)


def test_goods_of_a_theme_go_together_without_sharing_words():
    shared = total = 0
    for department in vocabulary().departments:
        for theme in department.themes:
            words = [set(" ".join(kind.nouns).lower().split()) for kind in theme.kinds]
            total += len(words) * (len(words) - 1) // 2
            shared += sum(bool(one & other) for i, one in enumerate(words) for other in words[:i])
    assert shared / total < 0.05


def test_the_words_fit_together():
    words = vocabulary()
    themes = [theme for department in words.departments for theme in department.themes]
    names = [theme.name for theme in themes]
    nouns = [noun for theme in themes for kind in theme.kinds for noun in kind.nouns]
    assert len(set(names)) == len(names)
    assert len(set(nouns)) == len(nouns)
    assert all(theme.near in names and theme.near != theme.name for theme in themes)
    assert all(set(kind.materials) <= set(words.materials) for theme in themes for kind in theme.kinds)
    assert all(len(department.brands) == 3 for department in words.departments)


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_a_written_shop_reads_back(tmp_path, file_format):
    shop = write_shop(tmp_path / "new" / "shop", file_format=file_format, **SMALL)
    data = read_data(tmp_path / "new" / "shop")
    assert data.items == tuple(product.item for product in shop.products)
    assert len(data.users) == 30
    assert len(data.item) == sum(map(len, shop.seasons))
    assert data.behavior.sum() == sum(event.behavior for season in shop.seasons for event in season)


def test_both_formats_have_one_fingerprint(tmp_path):
    write_shop(tmp_path / "a", file_format="parquet", **SMALL)
    write_shop(tmp_path / "b", file_format="csv", **SMALL)
    assert read_data(tmp_path / "a").fingerprint == read_data(tmp_path / "b").fingerprint


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "items.csv").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        write_shop(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["items.csv"]
    assert (tmp_path / "items.csv").read_text() == "mine"


@pytest.mark.parametrize("arguments", [{"n_items": 39}, {"n_shoppers": 0}, {"seed": -1}])
def test_a_shop_has_a_least_size(arguments):
    with pytest.raises(ValueError, match="a shop needs"):
        build_shop(**arguments)


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_shop_works(seed):
    shop = build_shop(seed=seed, n_items=40, n_shoppers=40)
    assert all(sum(event.behavior for event in season) >= 6 for season in shop.seasons)
