"""The checkpoint of the larger shape for the race."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from grow import grow, wider
from onyxrank_export.training.base import load_checkpoint

TEXTS = ["steel tent pegs", "gas stove", "lamp", "warm blanket of wool for the tent"]


def scores(checkpoint):
    encoded = checkpoint.tokenizer(TEXTS * 2, TEXTS + TEXTS[::-1], padding=True, return_tensors="pt")
    with torch.inference_mode():
        return checkpoint.model.eval()(**encoded).logits.softmax(dim=1)[:, 1]


def test_the_wider_model_is_the_same_function():
    torch.manual_seed(0)
    size = {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 30}
    small = BertForSequenceClassification(BertConfig(hidden_size=8, intermediate_size=12, **size)).eval()
    wide = BertForSequenceClassification(BertConfig(hidden_size=16, intermediate_size=24, **size)).eval()
    for parameter in small.parameters():  # no zeros and ones left by the initialization to hide a mistake
        torch.nn.init.normal_(parameter, std=0.5)
    wide.load_state_dict({name: wider(name, tensor, 4) for name, tensor in small.state_dict().items()})
    ids = torch.randint(30, (3, 9))
    with torch.inference_mode():
        assert torch.allclose(wide(ids).logits, small(ids).logits, atol=1e-4)


@pytest.mark.parametrize("run", ["trained_run", "shared_run"])
def test_the_grown_run_has_four_times_the_layers_work_and_ranks_alike(run, request, tmp_path):
    run = request.getfixturevalue(run)
    grow(run, tmp_path / "grown", TEXTS)
    before, after = load_checkpoint(run), load_checkpoint(tmp_path / "grown")
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers"):
        assert getattr(after.model.config, name) == 2 * getattr(before.model.config, name)
    assert after.model.config.num_attention_heads == before.model.config.num_attention_heads
    assert scores(after) == pytest.approx(scores(before), abs=0.05)
    assert scores(before).std() > 0.01
    kept = json.loads((tmp_path / "grown" / "run.json").read_text())
    assert kept == json.loads((run / "run.json").read_text())
    assert all(
        tensor.any()
        for name, tensor in load_file(tmp_path / "grown" / "model.safetensors").items()
        if tensor.ndim > 1
    )
