"""The parts of a graph over padded texts [N, S] that attend to all of themselves: what cross and the encoder share.

The letters in the shapes: N texts (or pairs), S tokens of the longest one, h heads of d channels, hidden = h · d.
Padding must be on the right, as the engine pads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from onyxrank_export.conversion.bert_layers import Norms, States, key_and_value, mask_below_zero, project
from onyxrank_export.conversion.bert_weights import Weights
from onyxrank_export.conversion.graph_writer import FUSED, GraphWriter

_HIDDEN = 1e4
"""What is subtracted from a score to hide it: larger than any score, and within the range of fp16."""


def embed(writer: GraphWriter, weights: Weights, norms: Norms) -> States:
    """Add the sum of word, segment and position embeddings and its layer norm: rows [N · S, hidden]."""
    words = writer.node("Gather", writer.weight("words", weights.words()), "input_ids", name="word_embeddings")
    segments = writer.node(
        "Gather", writer.weight("segments", weights.segments()), "token_type_ids", name="segment_embeddings"
    )
    tokens = writer.node("Shape", "input_ids", name="tokens", start=1, end=2)
    zero = writer.integers(0)
    table = writer.weight("positions", weights.positions())
    positions = writer.node("Slice", table, zero, tokens, zero, name="position_embeddings")
    total = writer.node("Add", words, segments, name="words_and_segments")
    total = writer.node("Add", total, positions, name="embeddings_sum")
    return norms.add(total, "all", "embeddings", "bert.embeddings.LayerNorm")


@dataclass(frozen=True, slots=True)
class Hiding:
    """How attention does not see padding: by one more channel in each head, or by the lengths of the texts.

    Attributes:
        channel: name of what keys get, 0 but in the last channel of each head of padding, [N, S, h · (d + 1)]; empty
            where lengths are given.
        masks: further inputs of the attention operator.

    """

    channel: str
    masks: tuple[str, ...]

    @classmethod
    def by_channel(cls, writer: GraphWriter, weights: Weights) -> Hiding:
        """Hide by a channel, which leaves the operator its fastest kernel for CPUs (benchmarks/NOTES.md)."""
        padding = writer.node("Unsqueeze", mask_below_zero(writer), writer.integers(2), name="mask_of_rows")
        place = np.zeros((weights.heads, weights.head_size + 1))
        place[:, -1] = _HIDDEN
        channel = writer.node("Mul", padding, writer.weight("channel", place.reshape(-1)), name="padding_channel")
        return cls(channel, ())

    @classmethod
    def by_lengths(cls, writer: GraphWriter) -> Hiding:
        """Hide by the number of tokens of each text, int32 [N], as kernels for GPUs want it."""
        count = writer.node("ReduceSum", "attention_mask", writer.integers(1), name="lengths_int64", keepdims=0)
        no_bias = ""
        return cls("", (no_bias, writer.node("Cast", count, name="lengths", to=onnx.TensorProto.INT32)))


def attend(
    writer: GraphWriter,
    weights: Weights,
    layer: int,
    states: States,
    shape: str,
    hiding: Hiding,
    readers: States | None = None,
) -> str:
    """Add the attention of a layer.

    Args:
        writer: the graph.
        weights: the model's weights.
        layer: number of the layer, from 0.
        states: the states of all tokens, rows [N · S, hidden].
        shape: name of the shape [N, S].
        hiding: how padding is hidden.
        readers: states of one token of each text, rows [N, hidden], if they alone are to attend; None for all tokens.

    Returns:
        Name of attention's result, rows [N · S or N, hidden].

    """
    at, hidden = f"layer_{layer}", weights.hidden
    width = hidden + weights.heads if hiding.channel else hidden
    key, value = key_and_value(writer, weights, states, layer, channel=bool(hiding.channel))
    key = by_text(writer, key, shape, width)  # [N, S, h · (d + 1)]; [N, S, hidden] by lengths
    value = by_text(writer, value, shape, hidden)  # [N, S, hidden]
    projection = weights.query(layer)
    if hiding.channel:
        key = writer.node("Add", key, hiding.channel, name=f"{at}_key_of_tokens")  # [N, S, h · (d + 1)]
        projection = weights.with_channel(*projection, 1.0)
    query = project(writer, readers or states, f"{at}_query", *projection)  # [N · S or N, width]
    if readers is None:
        query = by_text(writer, query, shape, width)  # [N, S, width]
    else:
        query = writer.node("Unsqueeze", query, writer.integers(1), name=f"{at}_query_row")  # [N, 1, width]
    attended = writer.node(
        "MultiHeadAttention",
        *(query, key, value, *hiding.masks),
        name=f"{at}_attention_by_text",
        domain=FUSED,
        num_heads=weights.heads,
        scale=1.0,
    )  # [N, S or 1, hidden]
    return writer.node("Reshape", attended, writer.integers(-1, hidden), name=f"{at}_attention")


def by_text(writer: GraphWriter, rows: str, shape: str, width: int) -> str:
    """Reshape [N · S, width] to [N, S, width]."""
    whole = writer.node("Concat", shape, writer.integers(width), name=f"{rows}_shape", axis=0)
    return writer.node("Reshape", rows, whole, name=f"{rows}_by_text")
