"""The optimized graph of cross over pairs, written from a trained BERT's weights: the plain graph's function, faster.

The letters in the shapes: N pairs, S tokens of the longest pair, h heads of d channels each, hidden = h · d.

1. Products and layer norms are those of `bert_layers`; attention is onnxruntime's fused operator MultiHeadAttention.
2. Padding is hidden by one more channel in each head. It is 1 in all queries, a large negative number in the keys of
   padding and 0 in the keys of tokens, so the score of padding falls by that number. The operator could take a mask
   instead, but then it leaves its fastest kernel for CPUs, which never holds all scores of a head
   (benchmarks/NOTES.md). Its kernels for GPUs want heads of certain sizes: for those the operator takes the lengths.
3. In the last layer only ``[CLS]`` is read, so query, attention output and feed-forward are computed for that one row
   of each pair; all rows still give keys and values. This is exact: no row of a layer sees another row's output of
   the same layer.

Padding must be on the right, as the engine pads. Models that are not plain BERT are optimized by `fusion`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from transformers import BertForSequenceClassification, PreTrainedModel

from onyxrank_export.conversion.bert_layers import (
    Norms,
    States,
    after_attention,
    key_and_value,
    mask_below_zero,
    project,
    small_product,
)
from onyxrank_export.conversion.bert_weights import Weights
from onyxrank_export.conversion.graph_writer import FUSED, GraphWriter
from onyxrank_export.training.plain_bert import what_is_not_plain

_HIDDEN = 1e4
"""What is subtracted from a score to hide it: larger than any score, and within the range of fp16."""


def can_write(model: PreTrainedModel) -> bool:
    """Whether the model can be written as such a graph: whether it is a plain BERT classifier."""
    return isinstance(model, BertForSequenceClassification) and not what_is_not_plain(model.config)


def write_cross_graph(model: PreTrainedModel, target: Path, *, for_gpus: bool = False) -> None:
    """Write the fp32 graph of a model that `can_write` accepts; `for_gpus` hides padding by lengths."""
    onnx.save(cross_graph(Weights(model), for_gpus=for_gpus), target)


def cross_graph(weights: Weights, *, for_gpus: bool = False) -> onnx.ModelProto:
    """``input_ids``, ``attention_mask``, ``token_type_ids`` int64 [N, S] → ``logits`` float32 [N, classes]."""
    writer = GraphWriter()
    layers, hidden = weights.layers, weights.hidden
    shape = writer.node("Shape", "input_ids", name="shape")
    pairs = writer.node("Shape", "input_ids", name="pairs", start=0, end=1)
    cells = writer.node("Reshape", writer.node("Size", "input_ids", name="size"), writer.integers(1), name="cells")
    norms = Norms(writer, weights, {"all": cells, "readout": pairs})
    states = _embed(writer, weights, norms)
    channel = "" if for_gpus else _padding_channel(writer, weights)
    width = hidden if for_gpus else hidden + weights.heads
    no_bias = ""
    masks = (no_bias, _lengths(writer)) if for_gpus else ()
    for layer in range(layers):
        at, last = f"layer_{layer}", layer == layers - 1
        key, value = key_and_value(writer, weights, states, layer, channel=not for_gpus)
        key = _by_pair(writer, key, shape, width)  # [N, S, h · (d + 1)]; [N, S, hidden] for GPUs
        value = _by_pair(writer, value, shape, hidden)  # [N, S, hidden]
        query_projection = weights.query(layer)
        if not for_gpus:
            key = writer.node("Add", key, channel, name=f"{at}_key_of_tokens")  # [N, S, h · (d + 1)]
            query_projection = weights.with_channel(*query_projection, 1.0)
        if last:
            states = _readout_rows(writer, states, shape, hidden)  # rows [N, hidden]
        query = project(writer, states, f"{at}_query", *query_projection)  # [N · S or N, width]
        if last:
            query = writer.node("Unsqueeze", query, writer.integers(1), name=f"{at}_query_row")  # [N, 1, width]
        else:
            query = _by_pair(writer, query, shape, width)  # [N, S, width]
        attended = writer.node(
            "MultiHeadAttention",
            *(query, key, value, *masks),
            name=f"{at}_attention_by_pair",
            domain=FUSED,
            num_heads=weights.heads,
            scale=1.0,
        )  # [N, S or 1, hidden]
        attended = writer.node("Reshape", attended, writer.integers(-1, hidden), name=f"{at}_attention")
        states = after_attention(writer, weights, norms, layer, attended, states, "readout" if last else "all")
    pooled = small_product(writer, states, "pooler", *weights.linear("bert.pooler.dense"))
    plain = np.ones(weights.hidden, np.float32), np.zeros(weights.hidden, np.float32)
    pooled_states = States(writer.node("Tanh", pooled, name="pooled"), *plain)
    matrix, bias = weights.linear("classifier")
    small_product(writer, pooled_states, "logits", matrix, bias)
    edges = ["batch_size", "sequence_length"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    return writer.model(dict.fromkeys(names, edges), {}, {"logits": ["batch_size", len(bias)]})


def _embed(writer: GraphWriter, weights: Weights, norms: Norms) -> States:
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


def _padding_channel(writer: GraphWriter, weights: Weights) -> str:
    """Add what keys get to hide padding, 0 but in the last channel of each head of padding: [N, S, h · (d + 1)]."""
    padding = writer.node("Unsqueeze", mask_below_zero(writer), writer.integers(2), name="mask_of_rows")
    place = np.zeros((weights.heads, weights.head_size + 1))
    place[:, -1] = _HIDDEN
    return writer.node("Mul", padding, writer.weight("channel", place.reshape(-1)), name="padding_channel")


def _lengths(writer: GraphWriter) -> str:
    """Add the number of tokens of each pair: int32 [N]."""
    lengths = writer.node("ReduceSum", "attention_mask", writer.integers(1), name="lengths_int64", keepdims=0)
    return writer.node("Cast", lengths, name="lengths", to=onnx.TensorProto.INT32)


def _by_pair(writer: GraphWriter, rows: str, shape: str, width: int) -> str:
    """Reshape [N · S, width] to [N, S, width]."""
    whole = writer.node("Concat", shape, writer.integers(width), name=f"{rows}_shape", axis=0)
    return writer.node("Reshape", rows, whole, name=f"{rows}_by_pair")


def _readout_rows(writer: GraphWriter, states: States, shape: str, hidden: int) -> States:
    """Take the state of each pair's ``[CLS]``: rows [N, hidden]."""
    by_pair = _by_pair(writer, states.rows, shape, hidden)
    rows = writer.node("Gather", by_pair, writer.integer(0), name="readout_rows", axis=1)
    return States(rows, states.gain, states.shift)
