from __future__ import annotations

import numpy as np
import pytest
import torch
from short_training import config, facts, fit, metrics, same, weights

from onyxrank_export.data.lists import lists_of_validation
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.metrics import ranking_metrics
from onyxrank_export.training.base import resolve_base
from onyxrank_export.training.contrastive import PairTokens, contrastive_pairs
from onyxrank_export.training.encoder import train_encoder
from onyxrank_export.training.shared_history import SharedHistoryForSequenceClassification
from onyxrank_export.training.similarity import Similarity


@pytest.mark.parametrize("item_position", [None, 14], ids=["cross", "shared-history"])
def test_the_encoder_learns_what_goes_together_and_the_head_stays(few, tmp_path, item_position):
    split = split_data(read_data(few))
    lists = lists_of_validation(split, most=40)
    labels = [row.labels for row in lists]
    torch.manual_seed(0)
    base = resolve_base("tiny", [item.title for item in split.data.items], seed=0, item_position=item_position)
    assert isinstance(base.model, SharedHistoryForSequenceClassification) == (item_position is not None)
    settings = config(contrastive_steps=20, contrastive_batch=32, contrastive_rate=1e-3)

    texts = [text for row in lists for text in row.history]
    tokens = PairTokens.of(texts, split, base.tokenizer, settings)

    def ranks():
        similarity = Similarity(base.model.base_model, tokens, lists)
        return ranking_metrics(labels, [similarity.margins(row) for row in lists])

    before, head = ranks(), base.model.classifier.weight.clone()
    pairs = contrastive_pairs(split, settings)
    similarity, log = train_encoder(base, split, pairs, lists, lists[:2], settings, tmp_path)
    fresh = Similarity(base.model.base_model, tokens, lists)
    assert np.array_equal(similarity.margins(lists[1]), fresh.margins(lists[1]))
    *losses, last = log
    assert losses[-1]["contrastive_loss"] < losses[0]["contrastive_loss"]
    assert [entry["contrastive_step"] for entry in losses] == list(range(2, 21, 2))
    assert ranks()["auc"] > max(0.8, before["auc"])
    assert {name: last[f"contrastive_eval_{name}"] for name in before} == pytest.approx(ranks())
    assert torch.equal(base.model.classifier.weight, head)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_training_begins_with_it_and_says_so(few, tmp_path):
    settings = {"max_steps": 2, "contrastive_steps": 3, "contrastive_batch": 16}
    plain = fit(few, tmp_path / "plain", max_steps=2)
    first, again = (fit(few, tmp_path / name, **settings) for name in ("first", "again"))
    assert same(weights(first.folder), weights(again.folder))
    assert not same(weights(first.folder), weights(plain.folder))
    assert facts(first.folder)["config"]["contrastive_steps"] == 3
    assert facts(first.folder)["training"]["steps"] == 2
    *losses, last = metrics(first.folder)["contrastive"]
    assert np.isfinite([entry["contrastive_loss"] for entry in losses]).all()
    assert 0 <= last["contrastive_eval_ndcg_at_10"] <= 1
    assert metrics(plain.folder)["contrastive"] == []
