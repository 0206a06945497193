"""BERT's layers as nodes of a graph that is written by hand: what the graphs of both architectures share.

1. A layer norm's gain and shift are in the weights and biases of the products that read it, so that what is left of
   it is InstanceNormalization over each row: onnxruntime vectorizes that, and its fused SkipLayerNormalization not
   (benchmarks/NOTES.md). Rows are two-dimensional, so that every bias joins its product.
2. The scale 1/√d is in the query's weights; the key's bias is left out, since it adds the same to all scores of a
   row; the value's bias passes through the softmax unchanged and is added to the bias of the next product. Query, key
   and value are three products: as fast as one that is split, read where they lie, and OpenVINO splits slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from onyxrank_export.conversion.bert_weights import Array, Weights
from onyxrank_export.conversion.graph_writer import FUSED, GraphWriter


@dataclass(frozen=True, slots=True)
class States:
    """Token states [rows, hidden]: ``rows · gain + shift``, with gain and shift in the weights of what reads them."""

    rows: str
    gain: Array
    shift: Array


class Norms:
    """Layer norms over rows. InstanceNormalization takes a gain and a shift per row here: ones and zeros, made once.

    Args:
        writer: the graph.
        weights: the model's.
        rows: the names of one-element tensors with the number of rows, by the kind of rows.

    """

    def __init__(self, writer: GraphWriter, weights: Weights, rows: dict[str, str]) -> None:
        self._writer, self._weights = writer, weights
        self._vectors = {
            kind: tuple(
                writer.node("Expand", writer.weight(f"{name}_of_row", [value]), count, name=f"{name}_{kind}")
                for name, value in (("gain", 1.0), ("shift", 0.0))
            )
            for kind, count in rows.items()
        }

    def add(self, rows: str, kind: str, name: str, norm: str) -> States:
        """Normalize rows [rows, hidden] by the layer norm of that name in the model."""
        writer, hidden = self._writer, self._weights.hidden
        one = writer.node("Reshape", rows, writer.integers(1, -1, hidden), name=f"{name}_as_channels")
        normal = writer.node(
            "InstanceNormalization",
            one,
            *self._vectors[kind],
            name=f"{name}_normalized",
            epsilon=self._weights.epsilon,
        )
        return States(
            writer.node("Reshape", normal, writer.integers(-1, hidden), name=name), *self._weights.norm(norm)
        )


def key_and_value(
    writer: GraphWriter, weights: Weights, states: States, layer: int, *, channel: bool = False
) -> tuple[str, str]:
    """Key and value of all heads, each [rows, hidden]; the key, if asked, with one more channel a head, of zeros."""
    key, value = weights.key_and_value(layer)
    zero = np.zeros(weights.hidden, np.float32)
    of_key = weights.with_channel(key, zero, 0.0) if channel else (key, zero)
    return (
        project(writer, states, f"layer_{layer}_key", *of_key),
        project(writer, states, f"layer_{layer}_value", value, zero),
    )


def mask_below_zero(writer: GraphWriter) -> str:
    """0 on tokens and -1 on padding, in the shape of ``attention_mask``."""
    mask = writer.node("Cast", "attention_mask", name="mask_float", to=onnx.TensorProto.FLOAT)
    return writer.node("Sub", mask, writer.weight("one", 1.0), name="mask_below_zero")


def after_attention(
    writer: GraphWriter, weights: Weights, norms: Norms, layer: int, attended: str, states: States, kind: str
) -> States:
    """Output projection, feed-forward, and the skip connection and layer norm after each."""
    at, source = f"layer_{layer}", f"bert.encoder.layer.{layer}"
    matrix, bias = weights.attention_output(layer)
    added = _project_and_add(writer, attended, f"{at}_attention_output", matrix, bias, states)
    states = norms.add(added, kind, f"{at}_attended", f"{source}.attention.output.LayerNorm")
    inner = project(writer, states, f"{at}_intermediate", *weights.linear(f"{source}.intermediate.dense"))
    inner = writer.node("Gelu", inner, name=f"{at}_gelu", domain=FUSED)
    matrix, bias = weights.linear(f"{source}.output.dense")
    added = _project_and_add(writer, inner, f"{at}_output", matrix, bias, states)
    return norms.add(added, kind, f"{at}_states", f"{source}.output.LayerNorm")


def _project_and_add(writer: GraphWriter, rows: str, name: str, matrix: Array, bias: Array, skip: States) -> str:
    """Project rows back to the hidden size and add the skip connection; its shift is in the product's bias."""
    product = _biased(writer, rows, name, matrix, bias + skip.shift)
    scaled = writer.node("Mul", skip.rows, writer.weight(f"{name}_skip_gain", skip.gain), name=f"{name}_skip")
    return writer.node("Add", product, scaled, name=f"{name}_added")


def project(writer: GraphWriter, states: States, name: str, matrix: Array, bias: Array) -> str:
    """A product with its bias of what a layer norm gave: [rows, out]."""
    return _biased(writer, states.rows, name, *_folded(states, matrix, bias))


def _folded(states: States, matrix: Array, bias: Array) -> tuple[Array, Array]:
    """Weights and bias of a product that reads normalized rows without their gain and shift."""
    return states.gain[:, None] * matrix, bias + states.shift @ matrix


def _biased(writer: GraphWriter, rows: str, name: str, matrix: Array, bias: Array) -> str:
    product = writer.node("MatMul", rows, writer.weight(f"{name}_weight", matrix), name=f"{name}_product")
    return writer.node("Add", product, writer.weight(f"{name}_bias", bias), name=name)


def small_product(writer: GraphWriter, states: States, name: str, matrix: Array, bias: Array) -> str:
    """A small product that stays fp32: one row an item."""
    matrix, bias = _folded(states, matrix, bias)
    return writer.node(
        "Gemm", states.rows, writer.weight(f"{name}_weight", matrix), writer.weight(f"{name}_bias", bias), name=name
    )
