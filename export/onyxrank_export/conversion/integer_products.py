"""Joins static int8 products with their biases: one operator instead of a product and a pass over its result.

onnxruntime runs DequantizeLinear → MatMul as its operator MatMulIntegerToFloat, but runs an Add of a bias behind it
as a pass of its own, though the operator takes a bias. Here a product and its bias are written as that operator.
"""

from __future__ import annotations

import onnx
from onnx import helper

_DOMAIN = "com.microsoft"


def join_biases(model: onnx.ModelProto) -> int:
    """Replace each QDQ product that one Add of a constant follows by MatMulIntegerToFloat, in place.

    Returns:
        How many products were replaced.

    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    read_by: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            read_by.setdefault(name, []).append(node)
    constants = {weight.name for weight in graph.initializer}
    joined = 0
    for product in [node for node in graph.node if node.op_type == "MatMul"]:
        rows, weight = (made_by.get(name) for name in product.input)
        if not (_dequantized(rows) and _dequantized(weight)) or rows is None or weight is None:
            continue
        readers = read_by[product.output[0]]
        if len(readers) != 1 or readers[0].op_type != "Add":
            continue
        bias = next((name for name in readers[0].input if name in constants), None)
        if bias is None or weight.input[0] not in constants:
            continue
        pairs = (pair for place in range(3) for pair in (rows.input[place], weight.input[place]))
        fused = helper.make_node(
            "MatMulIntegerToFloat", [*pairs, bias], list(readers[0].output), name=product.name, domain=_DOMAIN
        )
        graph.node.insert(list(graph.node).index(product), fused)
        graph.node.remove(product)
        graph.node.remove(readers[0])
        joined += 1
    _drop_unread_dequantizations(graph)
    return joined


def _dequantized(node: onnx.NodeProto | None) -> bool:
    """Whether a node dequantizes with a zero point."""
    return node is not None and node.op_type == "DequantizeLinear" and len(node.input) == 3


def _drop_unread_dequantizations(graph: onnx.GraphProto) -> None:
    """Drop the dequantizations that nothing reads any more."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear" and node.output[0] not in read]:
        graph.node.remove(node)
