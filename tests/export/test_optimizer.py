from __future__ import annotations

import pytest
import torch
from short_training import fit, weights
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from onyxrank_export.training.optimizer import head_parameters, raise_head_rate

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 20}


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (
            BertForSequenceClassification(BertConfig(**SMALL)),
            {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"},
        ),
        (
            RobertaForSequenceClassification(RobertaConfig(**SMALL)),
            {f"classifier.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("weight", "bias")},
        ),
    ],
    ids=["bert", "roberta"],
)
def test_the_head_is_what_comes_after_the_encoder(model, head):
    found = set(head_parameters(model))
    assert {name for name, parameter in model.named_parameters() if parameter in found} == head


def test_only_the_head_learns_at_its_rate():
    model = BertForSequenceClassification(BertConfig(**SMALL))
    plain = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.5)
    raise_head_rate(optimizer, model, 20)
    head = set(head_parameters(model))
    seen = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(seen) == len(set(seen)) == len(list(model.parameters()))
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == (10 if parameter in head else 0.5)
            assert group["weight_decay"] == (0.1 if parameter.ndim >= 2 else 0.0)


@pytest.mark.slow
def test_the_rate_decides_how_far_the_head_moves(few, tmp_path):
    start, slow, fast = (
        weights(fit(few, tmp_path / str(rate), max_steps=3, head_rate=rate).folder)["classifier.weight"]
        for rate in (1e-6, 1.0, 10.0)
    )
    assert (fast - start).norm() > 3 * (slow - start).norm() > 0
