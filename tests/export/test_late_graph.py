"""The encoder's graph gives PyTorch's vectors, alone and padded, for CPUs and GPUs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BertConfig, BertModel

from onyxrank import BundleError, Cuts
from onyxrank.architectures.late_interaction import TEXT, text_feeds
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.sessions.graph import Graph
from onyxrank_export.conversion.encoder_graph import write_encoder_graph
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.half import write_half
from onyxrank_export.conversion.late_conversion import LateConversion
from onyxrank_export.conversion.sessions import opened_session
from onyxrank_export.training.contrastive import embed

TEXTS = Ragged.of([[2, 7, 9, 3], [2, 11, 3], [2, 7, 8, 9, 10, 11, 12, 3], [2, 3]])


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = BertConfig(
            vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
        return BertModel(config, add_pooling_layer=False).eval()


def eager(model, feeds):
    ids, mask = (torch.from_numpy(feeds[name]) for name in ("input_ids", "attention_mask"))
    with torch.inference_mode():
        return embed(model, ids, mask).numpy(), model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()


@pytest.mark.parametrize("for_gpus", [False, True])
def test_vectors_and_token_states_are_pytorchs(model, tmp_path, for_gpus):
    write_encoder_graph(model, tmp_path / "model.onnx", for_gpus=for_gpus)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for rows in ([0, 1, 2, 3], [0], [3]):
        feeds = text_feeds(TEXTS, np.array(rows), 0)
        vectors, states = session.run([*TEXT.outputs, "last_hidden_state"], feeds)
        expected, expected_states = eager(model, feeds)
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
        there = feeds["attention_mask"] == 1
        np.testing.assert_allclose(states[there], expected_states[there], atol=1e-4)


def test_half_precision_keeps_the_vectors(model, tmp_path):
    write_encoder_graph(model, tmp_path / "model.onnx")
    write_half(tmp_path / "model.onnx", tmp_path / "half.onnx")
    feeds = text_feeds(TEXTS, np.arange(4), 0)
    [vectors] = onnxruntime.InferenceSession(tmp_path / "half.onnx").run(list(TEXT.outputs), feeds)
    np.testing.assert_allclose(vectors, eager(model, feeds)[0], atol=1e-2)


def test_parity_fails_for_another_model(model, tmp_path):
    conversion = LateConversion(model)
    conversion.write(tmp_path)
    requests = [EncodedRequest(np.empty(0, np.int32), TEXTS, Cuts())]
    assert conversion.parity(tmp_path, requests, 0)["fp32"] <= 1e-5
    other = BertModel(model.config, add_pooling_layer=False).eval()
    write_encoder_graph(other, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="vectors differ"):
        conversion.parity(tmp_path, requests, 0)


def test_a_graph_without_the_vectors_is_refused(model, tmp_path):
    write_encoder_graph(model, tmp_path / "model.onnx")
    with pytest.raises(BundleError), opened_session(tmp_path / "model.onnx", Graph(TEXT.inputs, ("vectors",))):
        pass
