from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onyxrank_export.conversion.quantize import SCHEMES, quantize
from onyxrank_export.conversion.smoothing import smooth

STATIC = next(scheme for scheme in SCHEMES if scheme.name == "int8_static_avx512_vnni")
CHANNEL, FACTOR = 5, 200.0


@pytest.fixture(scope="module")
def with_outlier(fused, tmp_path_factory):
    """The same function, but with one channel of the first feed-forward's input far larger than the others."""
    model = onnx.load(fused)
    graph = model.graph
    weights = {weight.name: weight for weight in graph.initializer}
    product = next(node for node in graph.node if node.op_type == "MatMul" and "intermediate" in node.name)
    rows = numpy_helper.to_array(weights[product.input[1]]).shape[0]
    grown, shrunk = np.ones(rows, np.float32), numpy_helper.to_array(weights[product.input[1]]).copy()
    grown[CHANNEL] = FACTOR
    shrunk[CHANNEL] /= FACTOR
    graph.initializer.append(numpy_helper.from_array(grown, "grown"))
    weights[product.input[1]].CopyFrom(numpy_helper.from_array(shrunk, product.input[1]))
    grow = onnx.helper.make_node("Mul", [product.input[0], "grown"], ["outlying"])
    graph.node.insert(list(graph.node).index(product), grow)
    product.input[0] = "outlying"
    path = tmp_path_factory.mktemp("outlier") / "model.onnx"
    onnx.save(model, path)
    return path


def margins(run_graph, path, feeds):
    return np.concatenate([np.diff(logits)[:, 0] for logits in run_graph(path, feeds)])


def added(path):
    return [node for node in onnx.load(path).graph.node if node.name.endswith("_smooth") and node.op_type == "Mul"]


def test_smoothing_changes_nothing_but_rounding(with_outlier, feeds, run_graph, tmp_path):
    assert smooth(with_outlier, tmp_path / "smooth.onnx", feeds) >= 1
    ours, theirs = (margins(run_graph, path, feeds) for path in (tmp_path / "smooth.onnx", with_outlier))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_int8_loses_less_after_smoothing(with_outlier, feeds, run_graph, tmp_path):
    exact = margins(run_graph, with_outlier, feeds)
    smooth(with_outlier, tmp_path / "smooth.onnx", feeds)
    quantize(with_outlier, tmp_path / "rough8.onnx", STATIC, feeds)
    quantize(tmp_path / "smooth.onnx", tmp_path / "smooth8.onnx", STATIC, feeds)
    rough, smoothed = (
        np.abs(margins(run_graph, tmp_path / name, feeds) - exact).mean() for name in ("rough8.onnx", "smooth8.onnx")
    )
    assert smoothed < 0.7 * rough


def test_only_the_outlier_is_scaled(with_outlier, feeds, tmp_path):
    smooth(with_outlier, tmp_path / "smooth.onnx", feeds)
    weights = {weight.name: weight for weight in onnx.load(tmp_path / "smooth.onnx").graph.initializer}
    node = next(node for node in added(tmp_path / "smooth.onnx") if node.input[0] == "outlying")
    factors = numpy_helper.to_array(weights[node.input[1]])
    assert factors[CHANNEL] == factors.min() < 0.1
    assert np.median(factors) == 1.0
    assert factors.max() == 1.0


def test_without_outliers_the_graph_stays_as_it_is(fused, feeds, tmp_path, monkeypatch):
    monkeypatch.setattr("onyxrank_export.conversion.smoothing.OUTLIER", 1e9)
    assert smooth(fused, tmp_path / "smooth.onnx", feeds) == 0
    assert added(tmp_path / "smooth.onnx") == []
    assert [node.name for node in onnx.load(tmp_path / "smooth.onnx").graph.node] == [
        node.name for node in onnx.load(fused).graph.node
    ]


def test_products_that_share_a_weight_each_get_their_own(tmp_path):
    make = onnx.helper.make_node
    weight = np.eye(4, dtype=np.float32)
    spike = np.array([1, 1, 1, 100], np.float32)
    nodes = [
        make("Cast", ["attention_mask"], ["mask"], to=onnx.TensorProto.FLOAT),
        make("Unsqueeze", ["mask", "last"], ["rows"]),
        make("Mul", ["rows", "spike"], ["a"]),
        make("MatMul", ["a", "w"], ["b"], name="first"),
        make("MatMul", ["rows_of_4", "w"], ["c"], name="second"),
        make("Add", ["b", "c"], ["y"]),
    ]
    nodes.insert(3, make("Mul", ["rows", "ones"], ["rows_of_4"]))
    constants = {"last": np.array([2]), "spike": spike, "ones": np.ones(4, np.float32), "w": weight}
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("attention_mask", onnx.TensorProto.INT64, [1, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2, 4])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    feeds = {"attention_mask": np.ones((1, 2), np.int64)}
    assert smooth(tmp_path / "model.onnx", tmp_path / "smooth.onnx", [feeds]) == 1
    initializers = onnx.load(tmp_path / "smooth.onnx").graph.initializer
    kept = {entry.name: numpy_helper.to_array(entry) for entry in initializers}
    np.testing.assert_array_equal(kept["w"], weight)
    assert kept["first_smooth_weight"][3, 3] == pytest.approx(25)
