"""BERT's layers as nodes of a graph that is written by hand: what the graphs of both architectures share.

A row is the state of one token; all rows of a batch stand in one matrix [rows, hidden], so that every bias joins its
product. The layers compute BERT's function (Devlin et al. 2019) with less work:

1. The gain and shift of a layer norm are multiplied into the weights and biases of the products that read it:
   (x · g + s) W + b = x (g W) + (b + s W). What is left of the layer norm is InstanceNormalization over each row,
   which onnxruntime vectorizes, as it does not its own SkipLayerNormalization (benchmarks/NOTES.md).
2. The scale 1/√d of attention is multiplied into the query's weights.
3. The key's bias is left out: it adds the same number to all scores of a query, which the softmax does not see.
4. The value's bias passes through the softmax unchanged, since its weights sum to 1; it is added to the bias of the
   product behind attention.
5. Query, key and value are three products. One product whose result is split would be no faster, and OpenVINO splits
   slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from onyxrank_export.conversion.bert_weights import Array, Weights
from onyxrank_export.conversion.graph_writer import FUSED, GraphWriter


@dataclass(frozen=True, slots=True)
class States:
    """Token states after a layer norm: ``rows · gain + shift``, of which only the rows are computed.

    Attributes:
        rows: name of the normalized rows [rows, hidden].
        gain: [hidden], multiplied into the weights of the products that read the rows.
        shift: [hidden], likewise.

    """

    rows: str
    gain: Array
    shift: Array


class Norms:
    """Adds layer norms over rows to a graph.

    InstanceNormalization normalizes each channel of [1, channels, width]; rows are its channels here. It takes a gain
    and a shift for each channel, which are vectors of ones and zeros, made once for each kind of rows.

    Args:
        writer: the graph.
        weights: the model's weights.
        rows: names of one-element tensors with the number of rows, by the kind of rows (all, or the readout's).

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
        """Add a layer norm: over `rows` [rows, hidden] of a kind, with the weights of `norm` in the model."""
        writer, hidden = self._writer, self._weights.hidden
        channels = writer.node("Reshape", rows, writer.integers(1, -1, hidden), name=f"{name}_as_channels")
        normal = writer.node(
            "InstanceNormalization",
            channels,
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
    """Add the products for key and value of all heads, each [rows, hidden].

    With `channel` each head of the key has one more channel at its end, of zeros: [rows, hidden + heads].
    """
    key, value = weights.key_and_value(layer)
    zero = np.zeros(weights.hidden, np.float32)
    key_projection = weights.with_channel(key, zero, 0.0) if channel else (key, zero)
    return (
        project(writer, states, f"layer_{layer}_key", *key_projection),
        project(writer, states, f"layer_{layer}_value", value, zero),
    )


def mask_below_zero(writer: GraphWriter) -> str:
    """Add a float mask of the shape of ``attention_mask``: 0 on tokens and -1 on padding."""
    mask = writer.node("Cast", "attention_mask", name="mask_float", to=onnx.TensorProto.FLOAT)
    return writer.node("Sub", mask, writer.weight("one", 1.0), name="mask_below_zero")


def after_attention(
    writer: GraphWriter, weights: Weights, norms: Norms, layer: int, attended: str, states: States, kind: str
) -> States:
    """Add what follows attention in a layer: output projection and feed-forward, each with skip and layer norm.

    Args:
        writer: the graph.
        weights: the model's weights.
        norms: the graph's layer norms.
        layer: number of the layer, from 0.
        attended: name of attention's result [rows, hidden].
        states: the states that attention read, for the skip connection.
        kind: kind of the rows, as of `Norms`.

    Returns:
        The layer's states, of the same rows.

    """
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
    """Add a product back to the hidden size and the skip connection, whose shift is part of the product's bias."""
    product = _biased(writer, rows, name, matrix, bias + skip.shift)
    scaled = writer.node("Mul", skip.rows, writer.weight(f"{name}_skip_gain", skip.gain), name=f"{name}_skip")
    return writer.node("Add", product, scaled, name=f"{name}_added")


def project(writer: GraphWriter, states: States, name: str, matrix: Array, bias: Array) -> str:
    """Add a product with its bias over the states after a layer norm: [rows, out]."""
    return _biased(writer, states.rows, name, *_folded(states, matrix, bias))


def _folded(states: States, matrix: Array, bias: Array) -> tuple[Array, Array]:
    """Multiply gain and shift into a product's weights and bias: (x · g + s) W + b = x (g W) + (b + s W)."""
    return states.gain[:, None] * matrix, bias + states.shift @ matrix


def _biased(writer: GraphWriter, rows: str, name: str, matrix: Array, bias: Array) -> str:
    product = writer.node("MatMul", rows, writer.weight(f"{name}_weight", matrix), name=f"{name}_product")
    return writer.node("Add", product, writer.weight(f"{name}_bias", bias), name=name)


def small_product(writer: GraphWriter, states: States, name: str, matrix: Array, bias: Array) -> str:
    """Add a product of one row per item, which stays fp32: a Gemm, which the quantizers leave alone."""
    matrix, bias = _folded(states, matrix, bias)
    return writer.node(
        "Gemm", states.rows, writer.weight(f"{name}_weight", matrix), writer.weight(f"{name}_bias", bias), name=name
    )
