from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig

from onyxrank import Limits
from onyxrank_export.training.dataset import collate
from onyxrank_export.training.shared_history import (
    SharedHistoryForSequenceClassification,
    collate_lists,
    first_item_position,
    one_way_mask,
)

LIMITS = Limits(history_tokens=10, item_tokens=6)
TOLERANCE = {"rtol": 0, "atol": 1e-5}
CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,  # wide enough that what a token sees shows in its state
        item_position=first_item_position(LIMITS),
    )
    return SharedHistoryForSequenceClassification(config).eval()


tokens = st.integers(5, 39)
histories = st.lists(tokens, max_size=10).map(lambda ids: [CLS, *ids, SEP])
items = st.lists(st.lists(tokens, min_size=1, max_size=6).map(lambda ids: [*ids, SEP]), min_size=1, max_size=5)


def rows(history, candidates):
    return [
        {
            "input_ids": history + item,
            "token_type_ids": [0] * len(history) + [1] * len(item),
            "labels": float(index == 0),
        }
        for index, item in enumerate(candidates)
    ]


def scored(model, batch):
    with torch.inference_mode():
        return model(**{name: value for name, value in batch.items() if name not in ("labels", "list_sizes")}).logits


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(histories, items), min_size=1, max_size=3))
def test_lists_in_one_row_score_as_pairs_alone_and_as_a_padded_batch(model, requests):
    lists = [rows(history, candidates) for history, candidates in requests]
    together = scored(model, collate_lists(lists, pad_id=0, item_position=first_item_position(LIMITS)))
    padded = scored(model, collate(lists))
    alone = torch.cat([scored(model, collate([[row]])) for pairs in lists for row in pairs])
    torch.testing.assert_close(together, padded, **TOLERANCE)
    torch.testing.assert_close(padded, alone, **TOLERANCE)


def test_the_history_matters_and_so_does_the_item(model):
    pairs = [([CLS, 7, 8, SEP], [9, SEP]), ([CLS, 7, 9, SEP], [9, SEP]), ([CLS, 7, 8, SEP], [10, SEP])]
    logits = torch.cat([scored(model, collate([rows(history, [item])])) for history, item in pairs])
    assert (logits[0] - logits[1:]).abs().max(dim=1).values.min() > 1e-3


def test_history_states_are_the_same_whatever_the_item_is(model):
    def states(item):
        batch = collate([rows([CLS, 7, 8, SEP], [item])])
        with torch.inference_mode():
            mask = one_way_mask(batch["attention_mask"], batch["token_type_ids"])
            return model.bert(batch["input_ids"], attention_mask=mask).last_hidden_state[0, :4]

    torch.testing.assert_close(states([9, SEP]), states([30, 31, 32, SEP]), **TOLERANCE)


def test_an_items_positions_do_not_depend_on_the_history():
    lists = [rows([CLS, 7, SEP], [[9, SEP], [9, 9, SEP]]), rows([CLS, 7, 8, 7, SEP], [[9, SEP]])]
    batch = collate_lists(lists, pad_id=0, item_position=12)
    assert batch["position_ids"].tolist() == [[0, 1, 2, 12, 13, 12, 13, 14], [0, 1, 2, 3, 4, 12, 13, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 1, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 8, [1] * 7 + [0]]
    assert batch["readout"].tolist() == [[0, 4], [0, 7], [1, 6]]
    assert batch["labels"].tolist() == [1, 0, 1]
    assert batch["list_sizes"].tolist() == [2, 1]


def test_who_sees_whom():
    mask = one_way_mask(torch.tensor([[1, 1, 1, 1, 0]]), torch.tensor([[0, 1, 2, 2, 0]]))
    assert mask.tolist() == [
        [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 1, 0], [1, 0, 1, 1, 0], [1, 0, 0, 0, 0]],
    ]
