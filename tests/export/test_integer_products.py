from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onyxrank_export.conversion import quantize as module
from onyxrank_export.conversion.integer_products import join_biases
from onyxrank_export.conversion.kernels import FAST, product_types
from onyxrank_export.conversion.quantize import SCHEMES, quantize

DICE = np.random.default_rng(0)


@pytest.fixture
def model(tmp_path):
    """Two products: one with a bias behind it, one whose result is also read by something else."""
    make = helper.make_node
    constants = {
        "w1": DICE.standard_normal((16, 24)),
        "w2": DICE.standard_normal((24, 16)),
        "b1": DICE.standard_normal(24),
        "b2": DICE.standard_normal(16),
    }
    graph = helper.make_graph(
        [
            make("Cast", ["ids"], ["rows"], name="rows", to=onnx.TensorProto.FLOAT),
            make("MatMul", ["rows", "w1"], ["p1"], name="first"),
            make("Add", ["b1", "p1"], ["a1"], name="first_bias"),
            make("Relu", ["a1"], ["r1"], name="relu"),
            make("MatMul", ["r1", "w2"], ["p2"], name="second"),
            make("Add", ["p2", "b2"], ["a2"], name="second_bias"),
            make("Mul", ["p2", "a2"], ["y"], name="both"),
        ],
        "g",
        [helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n", 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def run(path, feeds):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # exact sums on every machine
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def test_a_bias_joins_its_product_and_nothing_changes(model, tmp_path, monkeypatch):
    feeds = {"ids": DICE.integers(-5, 5, (6, 16))}
    quantize(model, tmp_path / "joined.onnx", SCHEMES[0], [feeds])
    monkeypatch.setattr(module, "join_biases", lambda graph: 0)
    quantize(model, tmp_path / "apart.onnx", SCHEMES[0], [feeds])
    joined = onnx.load(tmp_path / "joined.onnx")
    kinds = [node.op_type for node in joined.graph.node]
    assert kinds.count("MatMulIntegerToFloat") == 1
    assert kinds.count("MatMul") == 1  # its result is read twice: the bias stays an Add
    assert kinds.count("Add") == 1
    assert product_types(joined) == {FAST: 2}
    np.testing.assert_allclose(
        run(tmp_path / "joined.onnx", feeds), run(tmp_path / "apart.onnx", feeds), rtol=1e-4, atol=1e-3
    )


def test_a_graph_in_fp32_stays_as_it_is(model):
    graph = onnx.load(model)
    before = graph.SerializeToString()
    assert join_biases(graph) == 0
    assert graph.SerializeToString() == before
