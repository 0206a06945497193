"""Finds which kernels a quantized graph will run: the types of every large product, read from the graph itself."""

from __future__ import annotations

from collections import Counter

import onnx

from onyxrank_export.conversion.errors import ExportError

_TYPE_NAMES = {
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.FLOAT: "fp32",
}
FAST = "uint8 x int8"
"""The types of activation and weight for which onnxruntime has its fastest products on x86."""


def constant_products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Give the matrix products with constant weights: those of the layers, not those inside attention."""
    weights = {weight.name for weight in graph.initializer}
    return [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]


def product_types(model: onnx.ModelProto) -> Counter[str]:
    """Count the products with constant weights by the types of activation and weight, such as ``uint8 x int8``.

    Reads MatMulInteger (dynamic), MatMul behind DequantizeLinear (QDQ) and MatMulIntegerToFloat; products of two
    activations are left out.
    """
    graph = model.graph
    weights = {weight.name: weight.data_type for weight in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}

    def type_of(name: str) -> str | None:
        """Type that a tensor has before dequantization; None for an activation in floating point."""
        if name in weights:
            return _TYPE_NAMES.get(weights[name], "other")
        node = made_by.get(name)
        if node is None:
            return None
        if node.op_type == "DequantizeLinear":
            return type_of(node.input[0])
        if node.op_type == "DynamicQuantizeLinear":
            return "uint8"  # the only type the operator has
        if node.op_type == "QuantizeLinear":
            return type_of(node.input[2]) if len(node.input) > 2 else "uint8"
        return None

    counts: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in ("MatMul", "MatMulInteger", "MatMulIntegerToFloat"):
            weight = type_of(node.input[1])
            if weight is not None:
                counts[f"{type_of(node.input[0]) or 'fp32'} x {weight}"] += 1
    return counts


def check_int8(model: onnx.ModelProto, products: int) -> Counter[str]:
    """Make sure that all `products` of the layers are uint8 × int8, and count all products by their types.

    Raises:
        ExportError: if they are not; the message names the types that were found.

    """
    counts = product_types(model)
    # Pooler and classifier may stay fp32. If a layer's product stayed so too, it would be missing from the count.
    if set(counts) - {FAST, "fp32 x fp32"} or counts[FAST] != products:
        raise ExportError(
            f"the quantized graph has products of types {dict(counts)}; all {products} must be {FAST}, the others "
            "run several times slower or not in int8 at all"
        )
    return counts
