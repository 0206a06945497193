"""Makes int8 graphs by onnxruntime's quantizers: every product with constant weights becomes int8, nothing else.

Activations are uint8 and weights int8 everywhere: on x86 onnxruntime computes uint8 × int8 several times faster than
fp32, but uint8 × uint8 hardly faster, and int8 × int8 in a scalar loop, five times slower. `kernels` checks that the
products have these types.

There are two modes:
- `int8_dynamic` finds the range of each activation tensor at run time, over the whole micro-batch. The score of an
  item then depends a little on the items that it is batched with.
- `int8_static` fixes the ranges by calibration on training pairs, so that scores do not depend on the batch. Its
  graphs are written as QDQ, and their products are then joined with their biases (`integer_products`).

There are two ranges of weights, because of one instruction: without VNNI, AVX2 and AVX-512 add pairs of products in
16 bits, and these sums saturate unless weights keep to 7 bits (`reduce_range`). So the families avx2 and avx512 share
one graph, avx512_vnni and arm64 the other.

On the families that a graph is made for, its products are sums of integers without saturation, and so the same
numbers everywhere. What the gate says of a graph therefore holds on all of these machines, but for the last bits of
what stays fp32. On a machine where the sums of the VNNI graphs would saturate, the gate has them computed exactly
(`OrtSession`), so any machine can judge for all. `onyxrank tune` compares scores once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from onyxrank.sessions.arrays import Feeds
from onyxrank_export.conversion.integer_products import join_biases
from onyxrank_export.conversion.kernels import constant_products
from onyxrank_export.quiet import quiet

ACTIVATIONS = QuantType.QUInt8
WEIGHTS = QuantType.QInt8
_SHARED_OPTIONS = {
    "MatMulConstBOnly": True,  # products of two activations (attention) stay fp32
    "DefaultTensorType": onnx.TensorProto.FLOAT,  # the fused operators are unknown to shape inference
    "WeightSymmetric": True,
    "ActivationSymmetric": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How the graphs of one variant are quantized, and where they run.

    Attributes:
        name: name of the variant.
        precision: ``int8_dynamic``, ``int8_static``, ``fp16`` or ``bf16``.
        suffix: last part of the names of its graph files.
        machines: the machine families that the graphs are for.
        reduce_range: whether weights keep to 7 bits.
        provider: name of the provider that computes them when they are judged.

    """

    name: str
    precision: str
    suffix: str
    machines: tuple[str, ...]
    reduce_range: bool
    provider: str = "cpu"

    def file(self, role: str) -> str:
        """Path of a graph's file, relative to the bundle."""
        return f"onnx/{role}_{self.suffix}.onnx"


SCHEMES = (
    Scheme(
        name="int8_static_avx512_vnni",
        precision="int8_static",
        suffix="qint8_static_avx512_vnni",
        machines=("avx512_vnni", "arm64"),
        reduce_range=False,
    ),
    Scheme(
        name="int8_static_avx2",
        precision="int8_static",
        suffix="qint8_static_avx2",
        machines=("avx2", "avx512"),
        reduce_range=True,
    ),
    Scheme(
        name="int8_dynamic_avx512_vnni",
        precision="int8_dynamic",
        suffix="qint8_avx512_vnni",
        machines=("avx512_vnni", "arm64"),
        reduce_range=False,
    ),
    Scheme(
        name="int8_dynamic_avx2",
        precision="int8_dynamic",
        suffix="qint8_avx2",
        machines=("avx2", "avx512"),
        reduce_range=True,
    ),
)

HALF = Scheme(name="fp16", precision="fp16", suffix="fp16", machines=(), reduce_range=False)
"""The fp16 graphs, which `half` writes; they are named and judged as the int8 graphs are."""

BFLOAT16 = Scheme(name="bf16", precision="bf16", suffix="", machines=(), reduce_range=False, provider="openvino_bf16")
"""The fp32 graphs, which a provider computes in bf16: this variant has no files of its own."""


def quantize(source: Path, target: Path, scheme: Scheme, calibration: Iterable[Feeds]) -> None:
    """Write an int8 graph.

    Args:
        source: the optimized fp32 graph, its outlier channels smoothed.
        target: the file to write.
        scheme: the mode and the range of weights.
        calibration: inputs to find the ranges of activations on; only the static mode reads them.

    """
    with quiet():  # the quantizer advises to optimize the graph first, which has been done
        if scheme.precision == "int8_dynamic":
            _quantize_dynamic(source, target, scheme)
        else:
            _quantize_static(source, target, scheme, calibration)


def _quantize_dynamic(source: Path, target: Path, scheme: Scheme) -> None:
    # Pooler and classifier see one row per pair: int8 would save no time there and cost accuracy.
    heads = [node.name for node in onnx.load(source, load_external_data=False).graph.node if node.op_type == "Gemm"]
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],
        nodes_to_exclude=[*heads, *(f"{name}_MatMul" for name in heads)],
        per_channel=True,
        reduce_range=scheme.reduce_range,
        weight_type=WEIGHTS,
        extra_options=dict(_SHARED_OPTIONS),
    )


def _quantize_static(source: Path, target: Path, scheme: Scheme, calibration: Iterable[Feeds]) -> None:
    with TemporaryDirectory(dir=target.parent) as folder:
        annotated = Path(folder) / "annotated.onnx"
        model = onnx.load(source)
        annotate_activations(model)
        onnx.save(model, annotated)
        quantize_static(
            annotated,
            target,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=[node.name for node in constant_products(model.graph)],
            per_channel=True,
            reduce_range=scheme.reduce_range,
            activation_type=ACTIVATIONS,
            weight_type=WEIGHTS,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                **_SHARED_OPTIONS,
                # The operators behind a product read fp32: quantizing its output would only cost accuracy.
                "OpTypesToExcludeOutputQuantization": ["MatMul"],
            },
        )
    model = onnx.load(target)
    keep_residuals_fp32(model)
    join_biases(model)
    onnx.save(model, target)


def annotate_activations(model: onnx.ModelProto) -> None:
    """Declare the inputs of products as float32, in place.

    The calibrator passes over tensors of unknown type, and shape inference does not know the types that the fused
    operators give. Without this most activations would stay fp32, and onnxruntime would run weight-only kernels.
    """
    graph = model.graph
    known = {value.name for value in graph.value_info} | {value.name for value in graph.input}
    for node in constant_products(graph):
        if node.input[0] not in known:
            graph.value_info.append(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))
            known.add(node.input[0])


def keep_residuals_fp32(model: onnx.ModelProto) -> None:
    """Let every operator but the products read the original activations, not their rounded copies, in place.

    The QDQ quantizer rewires every reader of a tensor it quantizes, skip connections too: the rounding error would
    then add up along the residual stream, and each rounding would cost time for nothing.
    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type in ("MatMul", "QuantizeLinear", "DequantizeLinear"):
            continue
        for index, name in enumerate(node.input):
            rounded = made_by.get(name)
            if rounded is not None and rounded.op_type == "DequantizeLinear" and rounded.input[0] in made_by:
                node.input[index] = made_by[rounded.input[0]].input[0]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands inputs to the library's calibrator, one at a time."""

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._batches: Iterator[Feeds] = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else dict(batch)
