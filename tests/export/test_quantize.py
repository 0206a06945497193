from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType

from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.cross import PAIR, Cross
from onyxrank.measure.invariance import batch_deviation
from onyxrank.sessions.ort_session import OrtSession
from onyxrank.sessions.providers import PROVIDERS
from onyxrank_export.conversion import quantize as module
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.fusion import fuse
from onyxrank_export.conversion.kernels import FAST, check_int8, product_types
from onyxrank_export.conversion.quantize import SCHEMES, keep_residuals_fp32, quantize

LAYERS = 2
BY_NAME = {scheme.name: scheme for scheme in SCHEMES}
STATIC, DYNAMIC = BY_NAME["int8_static_avx512_vnni"], BY_NAME["int8_dynamic_avx512_vnni"]


@pytest.fixture(scope="module")
def fused(trained_bundle, trained_model, tmp_path_factory):
    """A graph of onnxruntime's fusions: six products a layer, none of them with its bias."""
    target = tmp_path_factory.mktemp("fused") / "fused.onnx"
    fuse(trained_bundle / "onnx" / "model.onnx", target, trained_model.config)
    return target


@pytest.fixture(scope="module")
def made(fused, feeds, tmp_path_factory):
    """The graph of each scheme, by name."""
    folder = tmp_path_factory.mktemp("quantized")
    for scheme in SCHEMES:
        quantize(fused, folder / f"{scheme.name}.onnx", scheme, feeds)
    return {scheme.name: folder / f"{scheme.name}.onnx" for scheme in SCHEMES}


def int8_weights(path):
    weights = [weight for weight in onnx.load(path).graph.initializer if weight.data_type == onnx.TensorProto.INT8]
    return [values for values in map(numpy_helper.to_array, weights) if values.ndim == 2]


@pytest.mark.parametrize("name", BY_NAME)
def test_all_large_products_are_uint8_by_int8_and_nothing_else(made, name):
    counts = product_types(onnx.load(made[name]))
    assert counts[FAST] == 6 * LAYERS
    assert set(counts) <= {FAST, "fp32 x fp32"}
    assert check_int8(onnx.load(made[name]), 6 * LAYERS) == counts


@pytest.mark.parametrize("name", BY_NAME)
def test_scores_stay_near_fp32(made, fused, feeds, run_graph, name):
    shares = []
    for ours, theirs in zip(run_graph(made[name], feeds), run_graph(fused, feeds), strict=True):
        shares.append(np.abs(np.diff(ours) - np.diff(theirs)).max())
    spread = np.std(np.concatenate([np.diff(logits) for logits in run_graph(fused, feeds)]))
    assert 0 < np.median(shares) < 0.3 * spread


@pytest.mark.parametrize("name", BY_NAME)
def test_weights_without_vnni_keep_to_seven_bits(made, name):
    largest = max(int(np.abs(weight.astype(int)).max()) for weight in int8_weights(made[name]))
    assert len(int8_weights(made[name])) == 6 * LAYERS
    assert largest in ((63, 64) if BY_NAME[name].reduce_range else (127, 128))


@pytest.mark.parametrize("name", BY_NAME)
def test_weights_have_a_scale_per_column(made, name):
    graph = onnx.load(made[name]).graph
    columns = {weight.shape[1] for weight in int8_weights(made[name])}
    scales = [
        tuple(weight.dims)
        for weight in graph.initializer
        if "scale" in weight.name and weight.dims and weight.dims[0] > 1
    ]
    assert len(scales) >= 6 * LAYERS
    assert {size for (size,) in scales} <= columns


def deviation(path, sample):
    session = OrtSession(path, PAIR, PROVIDERS["cpu"], 1, exact_sums=True)
    try:
        return batch_deviation(Cross({"model": session}, "softmax", BatchLimits()), sample.requests[:3])
    finally:
        session.close()


def test_static_scores_do_not_depend_on_the_batch_and_dynamic_ones_do(made, sample):
    assert deviation(made[STATIC.name], sample) <= 1e-5
    assert deviation(made[DYNAMIC.name], sample) > 1e-5


def test_only_products_read_rounded_activations(made):
    graph = onnx.load(made[STATIC.name]).graph
    weights = {weight.name for weight in graph.initializer}
    rounded = {
        node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] not in weights
    }
    readers = {node.op_type for node in graph.node if rounded & set(node.input)}
    assert readers == {"MatMul"}


def test_residuals_skip_the_rounding_and_products_do_not():
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        make("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        make("DequantizeLinear", ["w8", "scale", "zero"], ["w"]),
        make("MatMul", ["d", "w"], ["product"]),
        make("Add", ["product", "d"], ["sum"]),
        make("Mul", ["sum", "w"], ["y"]),
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))
    keep_residuals_fp32(model)
    inputs = {node.output[0]: list(node.input) for node in model.graph.node}
    assert inputs["product"] == ["d", "w"]
    assert inputs["sum"] == ["product", "x"]
    assert inputs["y"] == ["sum", "w"], "a weight has no other form to read"


def test_quantizing_twice_gives_the_same_bytes(fused, feeds, made, tmp_path):
    for scheme in (STATIC, DYNAMIC):
        quantize(fused, tmp_path / scheme.name, scheme, feeds)
        assert (tmp_path / scheme.name).read_bytes() == made[scheme.name].read_bytes()


def test_nothing_is_left_beside_the_graph(fused, feeds, tmp_path):
    quantize(fused, tmp_path / "static.onnx", STATIC, feeds)
    assert [path.name for path in tmp_path.iterdir()] == ["static.onnx"]


@pytest.mark.parametrize(
    ("scheme", "activations", "weights", "found"),
    [
        pytest.param(STATIC, QuantType.QInt8, QuantType.QInt8, "int8 x int8", id="static-s8s8"),
        pytest.param(STATIC, QuantType.QUInt8, QuantType.QUInt8, "uint8 x uint8", id="static-u8u8"),
        pytest.param(DYNAMIC, QuantType.QUInt8, QuantType.QUInt8, "uint8 x uint8", id="dynamic-u8u8"),
    ],
)
def test_slow_kernels_are_refused(fused, feeds, tmp_path, monkeypatch, scheme, activations, weights, found):
    monkeypatch.setattr(module, "ACTIVATIONS", activations)
    monkeypatch.setattr(module, "WEIGHTS", weights)
    quantize(fused, tmp_path / "slow.onnx", scheme, feeds)
    with pytest.raises(ExportError, match=f"'{found}': 12"):
        check_int8(onnx.load(tmp_path / "slow.onnx"), 6 * LAYERS)


def test_a_layer_that_stayed_fp32_is_noticed(made, fused):
    with pytest.raises(ExportError, match="all 12 must be uint8 x int8"):
        check_int8(onnx.load(fused), 6 * LAYERS)
    with pytest.raises(ExportError, match="all 13 must be"):
        check_int8(onnx.load(made[STATIC.name]), 6 * LAYERS + 1)


def test_activations_unknown_to_the_calibrator_are_noticed(fused, feeds, tmp_path, monkeypatch):
    """Without the annotation onnxruntime leaves activations in fp32: weight-only products, no error."""
    monkeypatch.setattr(module, "annotate_activations", lambda model: None)
    quantize(fused, tmp_path / "static.onnx", STATIC, feeds)
    with pytest.raises(ExportError, match="'fp32 x int8'"):
        check_int8(onnx.load(tmp_path / "static.onnx"), 6 * LAYERS)
