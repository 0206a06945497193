from __future__ import annotations

import numpy as np
import onnx
import pytest

from onyxrank_export.conversion import fp32
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.fp32 import check_complete, export_fp32
from onyxrank_export.conversion.parity import TOLERANCE, eager_logits


@pytest.fixture
def graph(trained_bundle):
    return onnx.load(trained_bundle / "onnx" / "model.onnx")


def test_the_graph_gives_pytorchs_logits_padded_and_alone(trained_bundle, trained_model, feeds, run_graph):
    for logits, batch in zip(run_graph(trained_bundle / "onnx" / "model.onnx", feeds), feeds, strict=True):
        np.testing.assert_allclose(logits, eager_logits(trained_model, batch), atol=1e-4)


def test_the_edges_are_named_and_free_in_both_axes(graph):
    for value in graph.graph.input:
        assert [axis.dim_param for axis in value.type.tensor_type.shape.dim] == ["batch_size", "sequence_length"]
        assert value.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert {value.name for value in graph.graph.input} == {"input_ids", "attention_mask", "token_type_ids"}
    assert [value.name for value in graph.graph.output] == ["logits"]


def test_the_exporter_validates_at_the_limit_of_all_graphs(trained_model, tmp_path, monkeypatch):
    honest, limits = fp32.validate_model_outputs, []

    def validate(*arguments, atol, **more):
        limits.append(atol)
        honest(*arguments, atol=atol, **more)

    monkeypatch.setattr(fp32, "validate_model_outputs", validate)
    export_fp32(trained_model, tmp_path / "model.onnx")
    assert limits == [TOLERANCE]


def test_a_whole_graph_is_complete(graph, trained_model):
    check_complete(graph, trained_model)


def drop(graph, *operators):
    for node in [node for node in graph.graph.node if node.op_type in operators]:
        graph.graph.node.remove(node)


def lose_classifier(graph):
    last = next(node for node in graph.graph.node if "logits" in node.output)
    pooled = last.input[0]
    graph.graph.node.remove(last)
    graph.graph.node.append(onnx.helper.make_node("Identity", [pooled], ["logits"]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda graph: drop(graph, "Softmax"), "0 attention softmaxes for 2 layers: it lost attention"),
        (lose_classifier, "ends in Identity without the classifier's weights"),
        (lambda graph: drop(graph, "Gemm"), "nothing in the graph computes 'logits'"),
        (lambda graph: graph.graph.input.pop(), "not .'input_ids', 'attention_mask', 'token_type_ids'."),
        (lambda graph: setattr(graph.graph.output[0], "name", "scores"), "outputs .'scores'."),
    ],
    ids=["attention", "classifier", "nothing", "input", "output"],
)
def test_what_a_graph_lost_is_named(graph, trained_model, damage, message):
    damage(graph)
    with pytest.raises(ExportError, match=message):
        check_complete(graph, trained_model)


def test_a_failure_of_the_exporter_is_an_export_error(trained_model, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such operator")

    monkeypatch.setattr("onyxrank_export.conversion.fp32.export", fail)
    with pytest.raises(ExportError, match="optimum could not export the model: RuntimeError: no such operator"):
        export_fp32(trained_model, tmp_path / "model.onnx")
