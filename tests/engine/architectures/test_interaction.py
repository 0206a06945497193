from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import BundleError, InvalidInput, Item
from onyxrank.architectures.interaction import Interaction, ItemTerm, Maps, NeighbourTerm, Vectors, VectorTerm
from onyxrank.architectures.interaction_files import read_interaction, read_known, write_interaction
from onyxrank.request.known import NEW, KnownItems

WIDTH, KNOWN = 6, 5


def unit(generator, rows):
    vectors = generator.normal(size=(rows, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def score(generator):
    dense = np.maximum(generator.normal(size=(KNOWN, KNOWN)), 0).astype(np.float32)
    rows, places = np.nonzero(dense)
    maps = Maps(
        events=generator.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 9,
        items=generator.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 9,
        event_residuals=generator.normal(size=(KNOWN, WIDTH)).astype(np.float32) / 9,
        item_residuals=generator.normal(size=(KNOWN, WIDTH)).astype(np.float32) / 9,
    )
    interaction = Interaction(
        known=KNOWN,
        vectors={
            "text": VectorTerm(weight=0.7, temperature=0.05, recency=1.0, center=4.0),
            "learned": VectorTerm(weight=0.4, temperature=0.1, recency=0.0, maps=maps),
        },
        neighbours={
            "co_purchase": NeighbourTerm(
                weight=3.0,
                recency=0.5,
                starts=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=KNOWN))]),
                places=places.astype(np.int32),
                weights=dense[rows, places],
            )
        },
        items={"popularity": ItemTerm(weight=0.5, values=np.arange(KNOWN, dtype=np.float32), new=-1.0)},
        bias=-2.0,
    )
    return interaction, dense, maps


def by_definition(interaction, dense, maps, events, items):
    """The formula of the module, item by item and event by event, in double precision."""
    margins = []
    ages = np.arange(len(events.rows))[::-1]
    for vector, place in zip(items.rows.astype(float), items.places, strict=True):
        margin = interaction.bias + 0.5 * (place if place != NEW else -1.0)
        if len(ages):
            share = (1.0 + ages) ** -1.0 / ((1.0 + ages) ** -1.0).sum()
            margin += 0.7 * (np.log((share * np.exp(events.rows.astype(float) @ vector / 0.05)).sum()) - 4.0)
            mapped = vector + vector @ maps.items + (maps.item_residuals[place] if place != NEW else 0)
            for_events = [
                event + event @ maps.events + (maps.event_residuals[own] if own != NEW else 0)
                for event, own in zip(events.rows, events.places, strict=True)
            ]
            margin += 0.4 * np.log(np.mean([np.exp(event @ mapped / 0.1) for event in for_events]))
            margin += 3.0 * sum(
                (1.0 + age) ** -0.5 * dense[own, place]
                for age, own in zip(ages, events.places, strict=True)
                if own != NEW and place != NEW
            )
        margins.append(margin)
    return margins


requests = st.tuples(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(NEW, KNOWN - 1), max_size=6),
    st.lists(st.integers(NEW, KNOWN - 1), min_size=1, max_size=6),
)


def drawn(seed, events, items):
    generator = np.random.default_rng(seed)
    parts = score(generator)
    sides = [Vectors(unit(generator, len(places)), np.array(places, np.int32)) for places in (events, items)]
    return *parts, *sides


@given(requests)
def test_margins_are_those_of_the_formula(request):
    interaction, dense, maps, events, items = drawn(*request)
    expected = by_definition(interaction, dense, maps, events, items)
    np.testing.assert_allclose(interaction.margins(events, items), expected, rtol=1e-4, atol=1e-4)


@given(requests)
def test_reasons_add_up_to_the_margin(request):
    interaction, _, _, events, items = drawn(*request)
    told = [shares.sum(axis=0) for shares in interaction.by_event(events, items).values()]
    told += interaction.by_item(items).values()
    np.testing.assert_allclose(np.sum(told, axis=0), interaction.margins(events, items), atol=1e-4)


@given(requests, st.permutations(range(6)))
def test_the_order_of_the_items_changes_no_margin(request, order):
    interaction, _, _, events, items = drawn(*request)
    order = [place for place in order if place < len(items.rows)]
    moved = interaction.margins(events, Vectors(items.rows[order], items.places[order]))
    np.testing.assert_allclose(moved, interaction.margins(events, items)[order], atol=1e-5)


def test_without_a_history_only_the_item_counts():
    interaction, _, _, events, items = drawn(0, [], [0, 3, NEW])
    np.testing.assert_allclose(interaction.margins(events, items), [-2.0, -0.5, -2.5])
    assert interaction.by_event(events, items) == {}


def test_an_item_in_the_history_is_as_close_as_can_be():
    generator = np.random.default_rng(0)
    rows = unit(generator, 4)
    plain = Interaction(known=0, vectors={"text": VectorTerm(weight=1.0, temperature=0.05, recency=0.0)})
    margins = plain.margins(Vectors(rows[:1], np.full(1, NEW)), Vectors(rows, np.full(4, NEW)))
    assert margins.argmax() == 0
    assert margins[0] == pytest.approx(1 / 0.05, rel=1e-5)


def test_terms_of_other_items_are_refused():
    interaction, *_ = score(np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="'popularity' is of 5 known items, not 4"):
        Interaction(known=4, vectors={}, items=interaction.items)
    with pytest.raises(InvalidInput, match="temperature"):
        Interaction(known=0, vectors={"text": VectorTerm(weight=1.0, temperature=0.0, recency=0.0)})


@pytest.fixture
def written(tmp_path):
    interaction, *_ = score(np.random.default_rng(1))
    known = KnownItems.of([Item(str(place), f"title {place}") for place in range(KNOWN)], np.arange(KNOWN))
    write_interaction(tmp_path / "score", interaction, known)
    return tmp_path / "score", interaction


def test_what_is_written_is_read(written):
    folder, interaction = written
    events, items = drawn(3, [0, NEW, 4], [1, 2, NEW, 0])[3:]
    np.testing.assert_array_equal(read_interaction(folder).margins(events, items), interaction.margins(events, items))
    assert read_known(folder).places_of_titles(["title 3", "no title"]).tolist() == [3, NEW]


@pytest.mark.parametrize("name", ["interaction.json", "co_purchase/weights.npy", "learned/items.npy"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_score_is_named(written, name, damage):
    folder, _ = written
    path = folder / name
    content = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=r"score in .* cannot be read"):
        read_interaction(folder)


def test_a_score_holds_no_pickle(written):
    folder, _ = written
    np.save(folder / "popularity" / "values.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(BundleError):
        read_interaction(folder)
