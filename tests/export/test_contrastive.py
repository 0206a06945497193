from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from behaviour import interactions, seasons
from hypothesis import given
from hypothesis import strategies as st
from short_training import config
from torch.nn import functional

from onyxrank_export.data.pairs import Sampling
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_behaviour, split_data
from onyxrank_export.data.values import DataError
from onyxrank_export.training.base import resolve_base
from onyxrank_export.training.contrastive import (
    MOST_TOKENS,
    TEMPERATURE,
    PairTokens,
    contrastive_pairs,
    in_batch_loss,
)


@pytest.fixture(scope="module")
def split(few):
    return split_data(read_data(few))


def base_of(split, **changes):
    torch.manual_seed(0)
    texts = [text for item in split.data.items for text in (item.title, item.description)]
    return resolve_base("tiny", texts, seed=0, **changes)


# The pairs


@given(seasons(), st.integers(0, 5))
def test_pairs_are_of_one_shopper_s_training_purchases(rows, seed):
    split = split_behaviour(interactions(rows, users=4, items=12))
    trained = [frozenset(shopper.purchases[: shopper.training].tolist()) for shopper in split.shoppers]
    if not any(len(bought) > 1 for bought in trained):
        return
    of_title = {item.title: position for position, item in enumerate(split.data.items)}
    for pair in contrastive_pairs(split, config(contrastive_steps=3, contrastive_batch=5, seed=seed)):
        text = of_title[pair.text]
        assert text != pair.item
        owners = [bought for bought in trained if {text, pair.item} <= bought]
        assert {of_title[title] for title in pair.related} in owners


def test_an_epoch_has_every_purchase_once(split):
    purchases = sorted(
        item
        for shopper in split.shoppers
        if shopper.training > 1
        for item in shopper.purchases[: shopper.training].tolist()
    )
    pairs = contrastive_pairs(split, config(contrastive_steps=2, contrastive_batch=len(purchases)))
    first, second = pairs[: len(purchases)], pairs[len(purchases) :]
    assert sorted(pair.item for pair in first) == sorted(pair.item for pair in second) == purchases
    assert [pair.text for pair in first] != [pair.text for pair in second]


def test_pairs_depend_on_the_seed_alone(split):
    first, again, other = (
        contrastive_pairs(split, config(contrastive_steps=2, contrastive_batch=50, seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert contrastive_pairs(split, config()) == []


def test_search_pairs_a_query_with_its_relevant_items(search_data):
    split = split_data(read_data(search_data))
    relevant = {
        (split.data.queries[query], item)
        for query, item, label in zip(split.data.query, split.data.item, split.data.label, strict=True)
        if label >= 2
    }
    pairs = contrastive_pairs(split, config(contrastive_steps=4, contrastive_batch=50))
    assert {(pair.text, pair.item) for pair in pairs} <= relevant
    assert all(split.data.items[pair.item].title in pair.related for pair in pairs)


def test_labels_of_which_none_is_relevant_are_refused(search_data):
    split = split_data(read_data(search_data))
    split = replace(split, data=replace(split.data, label=np.ones_like(split.data.label)))
    with pytest.raises(DataError, match="no training query has a relevant item"):
        contrastive_pairs(split, config(contrastive_steps=1))


# The loss


def test_the_loss_is_the_cross_entropy_over_the_others():
    texts, items = functional.normalize(torch.randn(2, 4, 8), dim=-1)
    related = torch.zeros(4, 2, 4, dtype=torch.bool)
    cosines = texts @ items.T / TEMPERATURE
    own = torch.arange(4)
    expected = (functional.cross_entropy(cosines, own) + functional.cross_entropy(cosines.T, own)) / 2
    torch.testing.assert_close(in_batch_loss(texts, items, related, torch.zeros(4)), expected)


def test_what_is_related_is_no_negative():
    texts, items = functional.normalize(torch.randn(2, 3, 8), dim=-1)
    related = torch.zeros(3, 2, 3, dtype=torch.bool)
    related[0, :, [0, 2]] = related[2, :, [0, 2]] = True
    loss = in_batch_loss(texts, items, related, torch.zeros(3))
    moved = texts.clone()
    moved[2] = texts[0]
    pairs = [[0, 1], [1, 0, 2], [2, 1]]

    def by_hand(left, right):
        return -torch.stack(
            [((left[row[0]] @ right[row].T) / TEMPERATURE).log_softmax(dim=0)[0] for row in pairs]
        ).mean()

    torch.testing.assert_close(loss, (by_hand(texts, items) + by_hand(items, texts)) / 2)


def test_a_prior_counts_only_where_the_item_is_a_negative():
    texts, items = functional.normalize(torch.randn(2, 2, 8), dim=-1)
    related = torch.zeros(2, 2, 2, dtype=torch.bool)
    plain, raised = (in_batch_loss(texts, items, related, torch.tensor([0.0, prior])) for prior in (0.0, 1.0))
    cosines = texts @ items.T / TEMPERATURE
    before, after = (
        functional.cross_entropy(cosines[:1] + torch.tensor([0.0, shift]), torch.tensor([0])) for shift in (0.0, 1.0)
    )
    torch.testing.assert_close(raised - plain, (after - before) / 4)


def test_priors_are_those_of_the_sampling(split):
    tokenizer = base_of(split).tokenizer
    powers = {
        power: PairTokens.of([], split, tokenizer, config(sampling=Sampling(popularity_power=power))).priors
        for power in (1.0, 1.5)
    }
    assert not powers[1.0].any()
    bought = split.popularity > 0
    np.testing.assert_allclose(powers[1.5][bought], 0.5 * np.log(split.popularity[bought]), rtol=1e-6)


# The training


def test_halves_are_cut_and_say_what_is_related(split):
    pairs = contrastive_pairs(split, config(contrastive_steps=1, contrastive_batch=6))
    base = base_of(split)
    tokens = PairTokens.of((pair.text for pair in pairs), split, base.tokenizer, config())
    batch = tokens.collate(pairs)
    decoded = base.tokenizer.batch_decode(batch["texts"], skip_special_tokens=True)
    assert decoded == [pair.text for pair in pairs]
    limit = min(MOST_TOKENS, config().limits.item_tokens)
    assert batch["items"].shape[1] <= limit + 2
    for row, pair in enumerate(pairs):
        for column, other in enumerate(pairs):
            assert batch["related"][row, 0, column] == (split.data.items[other.item].title in pair.related)
            assert batch["related"][row, 1, column] == (other.text in pair.related)
