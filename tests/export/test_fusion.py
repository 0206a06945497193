from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onyxrank_export.conversion import fusion
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.fusion import compute_readout_row_only, fuse


@pytest.fixture
def plain(trained_bundle):
    return trained_bundle / "onnx" / "model.onnx"


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_fused_logits_are_the_plain_ones_padded_and_alone(plain, tmp_path, trained_model, feeds, run_graph):
    fuse(plain, tmp_path / "fused.onnx", trained_model.config)
    for ours, theirs in zip(run_graph(tmp_path / "fused.onnx", feeds), run_graph(plain, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    found = operators(tmp_path / "fused.onnx")
    assert found["MultiHeadAttention"] == 2
    assert found["SkipLayerNormalization"] == 4
    assert not found["Softmax"]


def test_computing_the_readout_row_alone_changes_no_logit(
    plain, tmp_path, trained_model, feeds, run_graph, monkeypatch
):
    fuse(plain, tmp_path / "one.onnx", trained_model.config)
    monkeypatch.setattr(fusion, "compute_readout_row_only", lambda model: None)
    fuse(plain, tmp_path / "all.onnx", trained_model.config)
    for one, all_ in zip(
        run_graph(tmp_path / "one.onnx", feeds), run_graph(tmp_path / "all.onnx", feeds), strict=True
    ):
        np.testing.assert_allclose(one, all_, atol=2e-6)
    assert operators(tmp_path / "one.onnx") - operators(tmp_path / "all.onnx") == Counter(Slice=1)


def test_the_last_layer_is_computed_for_one_row(plain, tmp_path, trained_model):
    fuse(plain, tmp_path / "fused.onnx", trained_model.config)
    graph = onnx.load(tmp_path / "fused.onnx").graph
    cut = next(node for node in graph.node if node.output[0] == "readout_row")
    values = {
        weight.name: numpy_helper.to_array(weight).tolist()
        for weight in graph.initializer
        if "readout" in weight.name
    }
    assert [values[name] for name in cut.input[1:]] == [[0], [1], [1]]
    readers = Counter(node.op_type for node in graph.node if "readout_row" in node.input)
    assert readers == Counter(MatMul=1, SkipLayerNormalization=1)


def test_a_model_whose_attention_is_not_recognised_is_refused(plain, tmp_path, trained_model):
    model = onnx.load(plain)
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    index = list(model.graph.node).index(softmax)
    result = softmax.output[0]
    softmax.output[0] = "shares"
    one = numpy_helper.from_array(np.float32(1.0), "one")
    model.graph.initializer.append(one)
    model.graph.node.insert(index + 1, onnx.helper.make_node("Pow", ["shares", "one"], [result]))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(
        ExportError, match="1 MultiHeadAttention nodes of 2 layers, not 2: the model is not built like"
    ):
        fuse(tmp_path / "other.onnx", tmp_path / "fused.onnx", trained_model.config)
    assert not (tmp_path / "fused.onnx").exists()


def test_a_last_layer_of_another_shape_is_refused(plain, tmp_path, trained_model, monkeypatch):
    monkeypatch.setattr(fusion, "compute_readout_row_only", lambda model: None)
    fuse(plain, tmp_path / "fused.onnx", trained_model.config)
    model = onnx.load(tmp_path / "fused.onnx")
    attention = [node for node in model.graph.node if node.op_type == "MultiHeadAttention"][-1]
    query = next(node for node in model.graph.node if node.output[0] == attention.input[0])
    query.op_type = "Gemm"
    with pytest.raises(ExportError, match="not BERT's"):
        compute_readout_row_only(model)
