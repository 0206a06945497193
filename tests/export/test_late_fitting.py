"""What late-interaction learns beside its encoder: maps, neighbours, item terms, and how much each counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from behaviour import interactions
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import Item
from onyxrank.architectures.interaction import ItemTerm, Vectors, VectorTerm
from onyxrank.request.known import NEW
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.splits import split_behaviour
from onyxrank_export.evaluation.metrics import per_list_metrics
from onyxrank_export.training.late import maps, neighbours, popularity
from onyxrank_export.training.late.fitting import known_items
from onyxrank_export.training.late.maps import Purchases, learn_maps
from onyxrank_export.training.late.vectors import CatalogueVectors
from onyxrank_export.training.late.weighing import Features, Known

WIDTH, ITEMS = 8, 20


@pytest.fixture(scope="module")
def split():
    """Shoppers who go from item n to n + 1; the last two items are never bought in training."""
    rows = [(user, (user + step) % (ITEMS - 2), 1) for user in range(40) for step in range(6)]
    return split_behaviour(interactions(rows, users=40, items=ITEMS), "last-item")


@pytest.fixture(scope="module")
def vectors():
    rows = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return CatalogueVectors(rows, rows, np.full(ITEMS, 4))


@pytest.fixture(scope="module")
def catalogue(split, vectors):
    _, positions = known_items(split)
    places = np.full(ITEMS, NEW, np.int32)
    places[positions] = np.arange(len(positions))
    return Known(vectors, places, vectors.items[:0], {}, 100)


@pytest.fixture(scope="module")
def lists(split):
    rows = []
    for shopper in split.shoppers:
        events = shopper.purchases[: shopper.training]
        items = np.setdiff1d(np.arange(ITEMS, dtype=np.int32), events)
        labels = (items == shopper.purchases[shopper.training]).astype(np.float32)
        titles = tuple(split.data.items[event].title for event in events)
        rows.append(CandidateList(titles, items, labels, events))
    return rows


@pytest.fixture
def features(lists, catalogue):
    return Features(lists, catalogue)


def test_only_what_was_bought_in_training_is_known(split):
    known, positions = known_items(split)
    assert positions.tolist() == list(range(ITEMS - 2))
    assert known.places_of([Item("i3", "another"), Item("i19", "title 19")]).tolist() == [3, NEW]


# Maps


def test_purchases_are_predicted_from_what_came_before(split):
    purchases = Purchases.of(split)
    first = split.shoppers[0]
    assert len(purchases) == sum(shopper.training - 1 for shopper in split.shoppers)
    assert purchases.targets[0] == first.purchases[1]
    assert purchases.events[1][purchases.present[1]].tolist() == first.purchases[:2][::-1].tolist()


def test_a_basket_is_predicted_from_the_baskets_before_it():
    rows = interactions([(0, item, 1) for item in range(6)], users=1, items=6)
    data = type(rows)(
        **{name: getattr(rows, name) for name in rows.__slots__} | {"timestamp": np.array([1, 1, 2, 2, 3, 4])}
    )
    purchases = Purchases.of(split_behaviour(data, "last"))
    assert purchases.targets.tolist() == [2, 3]
    assert [events[there].tolist() for events, there in zip(purchases.events, purchases.present, strict=True)] == [
        [1, 0],
        [1, 0],
    ]


def test_the_trained_module_is_the_engines_term(split, vectors):
    """Up to the share of the ages, which is one number for a history, and popularity, which is a term of its own."""
    _, positions = known_items(split)
    model = maps._Model(vectors, positions, torch.zeros(ITEMS))
    with torch.no_grad():
        for parameter in (model.event_map, model.item_map, model.event_residuals, model.item_residuals):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) / 9)
        model.recency.fill_(0.7)
        model.event_residuals[ITEMS - 2 :] = model.item_residuals[ITEMS - 2 :] = 0  # they are not known
    model.eval()
    events = torch.tensor([[4, 2, 19, 0]])  # newest first
    with torch.no_grad():
        logits = model(events, torch.tensor([[True, True, True, False]]), torch.arange(ITEMS))[0].numpy()
    places = np.where(np.isin(np.arange(ITEMS), positions), np.arange(ITEMS), NEW).astype(np.int32)
    oldest_first = np.array([19, 2, 4])
    amounts = model.term().amounts(
        Vectors(vectors.titles[oldest_first], places[oldest_first]), Vectors(vectors.items, places)
    )
    np.testing.assert_allclose(amounts - amounts[0], logits - logits[0], atol=1e-4)


@pytest.fixture
def fast(monkeypatch):
    """Rates at which a few steps show."""
    for name, value in {"_MAP_RATE": 0.02, "_RESIDUAL_RATE": 0.05, "_BATCH": 32, "_LEAST_STEPS": 60}.items():
        monkeypatch.setattr(maps, name, value)


def test_maps_begin_at_the_encoder_and_end_no_worse(split, vectors, features, fast):
    log = []
    _, positions = known_items(split)
    plain = VectorTerm(weight=1.0, temperature=0.05, recency=0.0)
    before = features.quality(features.of(plain))
    term = learn_maps(vectors, split, positions, lambda term: features.quality(features.of(term)), 0, log.append)
    assert log[0] == {"epoch": 0.0, "quality": pytest.approx(before)}
    after = features.quality(features.of(term))
    assert after == max(entry["quality"] for entry in log)
    assert after > before + 0.1


def test_the_same_seed_learns_the_same(split, vectors, fast):
    _, positions = known_items(split)
    first, second, other = (
        learn_maps(vectors, split, positions, lambda term: float(np.abs(term.maps.items).sum()), seed)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.maps.item_residuals, second.maps.item_residuals)
    assert (first.maps.item_residuals != other.maps.item_residuals).any()


def test_a_large_catalogue_is_sampled(split, vectors, features, monkeypatch):
    monkeypatch.setattr(maps, "_MOST_SCORED", 6)
    scored, correction = maps._scored(torch.tensor([3, 3, 17]), ITEMS, torch.Generator().manual_seed(0))
    assert set(scored.tolist()) >= {3, 17}
    assert len(scored) < ITEMS
    assert torch.equal(scored, scored.unique())
    assert correction[torch.searchsorted(scored, torch.tensor([3, 17]))].tolist() == [0, 0]
    assert correction.max() == pytest.approx(np.log(ITEMS / 6))
    _, positions = known_items(split)
    term = learn_maps(vectors, split, positions, lambda term: features.quality(features.of(term)), 0)
    assert features.quality(features.of(term)) > 0


# Neighbours and item terms


def test_neighbours_say_what_follows(split, catalogue):
    _, positions = known_items(split)
    terms = neighbours.neighbour_candidates(split, positions)
    after = terms["next"][0]
    said = after.amounts(np.array([3], np.int32), np.arange(len(positions), dtype=np.int32))
    assert said.argmax() == 4
    assert said[3] == 0
    assert all(len(np.unique(term.recency)) == 1 for kind in terms.values() for term in kind)


def test_only_the_largest_weights_are_kept(split, monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_NEIGHBOURS", 2)
    _, positions = known_items(split)
    for term in neighbours.neighbour_candidates(split, positions)["co_purchase"]:
        assert np.diff(term.starts).max() == 2
        assert (term.weights > 0).all()


def test_past_so_many_items_cosines_take_the_place_of_ease(split, monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_ITEMS", 5)
    _, positions = known_items(split)
    terms = neighbours.neighbour_candidates(split, positions)["co_purchase"]
    assert len(terms) == len(neighbours.RECENCIES)
    assert all(len(term.weights) for term in terms)


def test_an_item_nobody_bought_counts_as_one_of_the_middle(split):
    _, positions = known_items(split)
    [term] = popularity.item_terms(split, positions)["popularity"]
    counts = split.popularity[positions]
    np.testing.assert_allclose(term.values, np.log1p(counts), rtol=1e-6)
    assert term.new == pytest.approx(np.log1p(counts).mean())
    assert "trend" not in popularity.item_terms(split, positions), "there are no times"


# Weighing


@given(st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=8), st.data())
def test_quality_is_ndcg(values, data):
    labels = np.array([data.draw(st.sampled_from([0.0, 1.0])) for _ in values], np.float32)
    labels[0] = 1.0
    places = np.full(len(values), NEW, np.int32)
    rows = np.ones((len(values), 2), np.float32)
    row = CandidateList((), np.arange(len(values), dtype=np.int32), labels)
    features = Features([row], Known(CatalogueVectors(rows, rows, np.ones(len(values))), places, rows[:0], {}, 9))
    scores = np.array(values, np.float32)
    if len(np.unique(scores)) == len(scores):  # of ties the one takes the mean place, the other the mean gain
        expected = per_list_metrics([labels], [scores])["ndcg_at_10"][0]
        assert features.quality(scores) == pytest.approx(expected)


def test_weights_favour_what_tells_the_target(features, lists, catalogue):
    generator = np.random.default_rng(0)
    truth = np.concatenate([row.labels for row in lists])
    features.columns = {
        "noise": generator.normal(size=len(truth)).astype(np.float32),
        "signal": (truth + generator.normal(size=len(truth)) / 2).astype(np.float32),
        "constant": np.ones(len(truth), np.float32),
    }
    weights = features.weigh()
    together = sum(weights[name] * column for name, column in features.columns.items())
    assert weights["signal"] > abs(weights["noise"])
    assert features.quality(together) >= features.quality(features.columns["signal"]) - 1e-6


def test_item_terms_count_without_a_history(split, catalogue):
    row = CandidateList((), np.arange(4, dtype=np.int32), np.array([1, 0, 0, 0], np.float32))
    features = Features([row], catalogue)
    term = ItemTerm(weight=1.0, values=np.arange(ITEMS - 2, dtype=np.float32), new=0.0)
    assert features.of(term).tolist() == [0, 1, 2, 3]
    assert features.of(VectorTerm(weight=1.0, temperature=0.05, recency=0.0)).tolist() == [0] * 4
