"""The two graphs of shared-history, written from a trained model's weights.

`history` turns token ids [1, P] into every layer's keys and values; `items` turns the token ids of N items [N, C] and
these into logits [N, classes]. What makes them fast is all exact:

1. The queries of all items are multiplied with the one matrix of history keys, heads first: [N · C, d] × [d, P] for
   each head. The history is never repeated over the items.
2. A token of an item attends to the history and to its own item under one softmax, as `item_attention` says.
3. Products and layer norms are those of `bert_layers`.
4. In the last layer only the readout row of each item has a query, an attention output and a feed-forward.
5. Position and segment embeddings are added up beforehand; the mask is made once, in the shape of the scores that it
   is added to.
6. Rows of items are ordered by place: the first tokens of all items, then all second ones. Read as [C, N, h, d],
   queries, keys and values are multiplied where their projections wrote them, since onnxruntime takes a transposition
   of the first dimension into the product behind it. Only three things are copied: queries, when their extra channel
   is appended; the contexts of the own item; and the sum of both contexts.
7. The number of keys, those of the history and those that stand for an item's own tokens, is a multiple of 16. CPU
   products are that wide, and some providers pay for each new shape. At least one key stands for the item.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from transformers import PreTrainedModel

from onyxrank.architectures.shared_history import KEY_STEP
from onyxrank.request.truncation import Limits
from onyxrank_export.conversion.bert_layers import (
    Norms,
    States,
    after_attention,
    key_and_value,
    mask_below_zero,
    project,
    small_product,
)
from onyxrank_export.conversion.bert_weights import Array, Weights
from onyxrank_export.conversion.graph_writer import FUSED, GraphWriter
from onyxrank_export.conversion.item_attention import attend

_MASKED = 1e9
"""What is subtracted from the scores of padding."""
_ITEM_SEGMENT, _HISTORY_SEGMENT = 1, 0


def write_graphs(model: PreTrainedModel, limits: Limits, history: Path, items: Path) -> None:
    """Write both graphs in fp32.

    Args:
        model: a trained `SharedHistoryForSequenceClassification`; `load_checkpoint` makes sure that it is plain BERT.
        limits: the longest history and item that will come.
        history: the file to write the graph of the history to.
        items: the file to write the graph of the items to.

    """
    weights = Weights(model)
    onnx.save(history_graph(weights, limits), history)
    onnx.save(items_graph(weights, limits), items)


def products_per_graph(layers: int) -> dict[str, int]:
    """How many large products with constant weights each graph has, by role."""
    return {"history": 6 * (layers - 1) + 2, "items": 6 * layers}


def history_graph(weights: Weights, limits: Limits) -> onnx.ModelProto:
    """``input_ids`` int64 [1, P] → ``keys``, ``values`` as in `HistoryState`."""
    writer = GraphWriter()
    heads, size, layers = weights.heads, weights.head_size, weights.layers
    tokens = writer.node("Shape", "input_ids", name="tokens", start=1, end=2)
    norms = Norms(writer, weights, {"all": tokens})
    places = _places(writer, weights.places(0, limits.history_tokens + 2, _HISTORY_SEGMENT), tokens)
    states = _embed(writer, weights, norms, "input_ids", places)
    keys: list[str] = []
    values: list[str] = []
    for layer in range(layers):
        at, last = f"layer_{layer}", layer == layers - 1
        key, value = key_and_value(writer, weights, states, layer)
        shape = writer.integers(-1, heads, size)
        for name, part, order, kept in (("key", key, [1, 2, 0], keys), ("value", value, [1, 0, 2], values)):
            per_head = writer.node("Reshape", part, shape, name=f"{at}_{name}_per_head")
            moved = writer.node("Transpose", per_head, name=f"{at}_{name}_heads_first", perm=order)
            kept.append(writer.node("Unsqueeze", moved, writer.integers(0), name=f"{at}_{name}_kept"))
        if last:
            break
        query = project(writer, states, f"{at}_query", *weights.query(layer))
        parts = [
            writer.node("Unsqueeze", part, writer.integers(0), name=f"{part}_row") for part in (query, key, value)
        ]
        attended = writer.node(
            "MultiHeadAttention", *parts, name=f"{at}_attention", domain=FUSED, num_heads=heads, scale=1.0
        )
        attended = writer.node("Squeeze", attended, writer.integers(0), name=f"{at}_attention_rows")
        states = after_attention(writer, weights, norms, layer, attended, states, "all")
    _write_states(writer, weights, tokens, keys, values)
    return writer.model(
        {"input_ids": [1, "history_length"]},
        {},
        {"keys": [layers, heads, size + 1, "key_length"], "values": [layers, heads, "key_length", size]},
    )


def items_graph(weights: Weights, limits: Limits) -> onnx.ModelProto:
    """``input_ids``, ``attention_mask`` int64 [N, C], ``keys``, ``values`` → ``logits`` float32 [N, classes]."""
    writer = GraphWriter()
    heads, size, layers = weights.heads, weights.head_size, weights.layers
    tokens = writer.node("Shape", "input_ids", name="tokens", start=1, end=2)
    cells = writer.node("Reshape", writer.node("Size", "input_ids", name="size"), writer.integers(1), name="cells")
    items = writer.node("Shape", "input_ids", name="items", start=0, end=1)
    norms = Norms(writer, weights, {"all": cells, "readout": items})
    ids = writer.node("Transpose", "input_ids", name="ids_by_place", perm=[1, 0])
    table = weights.places(weights.item_position, limits.item_tokens + 1, _ITEM_SEGMENT)
    places = writer.node("Unsqueeze", _places(writer, table, tokens), writer.integers(1), name="place_of_each_row")
    states = _embed(writer, weights, norms, ids, places)
    own_key_count = _own_key_count(writer, weights)
    by_place = writer.node("Concat", tokens, items, writer.integers(heads, size), name="shape_by_place", axis=0)
    readout_shape = writer.node(
        "Concat", writer.integers(1), items, writer.integers(heads, size), name="shape_of_readout", axis=0
    )
    mask = _additive_mask(writer)
    square = writer.node("Concat", items, writer.integers(1), tokens, tokens, name="shape_of_own_scores", axis=0)
    masks = {"readout": mask, "all": writer.node("Expand", mask, square, name="mask_of_own_scores")}
    log = writer.node("Log", own_key_count, name="log_own_key_count")
    masks = {rows: writer.node("Sub", each, log, name=f"{each}_less_log") for rows, each in masks.items()}
    keys = writer.split("keys", tuple(f"layer_{layer}_history_keys" for layer in range(layers)), axis=0)
    values = writer.split("values", tuple(f"layer_{layer}_history_values" for layer in range(layers)), axis=0)
    for layer in range(layers):
        at, last = f"layer_{layer}", layer == layers - 1
        kind = "readout" if last else "all"
        key, value = (
            writer.node("Reshape", product, by_place, name=f"{product}_per_head")
            for product in key_and_value(writer, weights, states, layer)
        )
        if last:
            states = _readout_rows(writer, states, items)
        query = project(writer, states, f"{at}_query", *weights.query(layer))
        query = writer.node("Reshape", query, readout_shape if last else by_place, name=f"{at}_query_per_head")
        attended = attend(
            writer,
            heads,
            size,
            at,
            (query, key, value),
            (keys[layer], values[layer]),
            masks[kind],
            own_key_count,
        )
        states = after_attention(writer, weights, norms, layer, attended, states, kind)
    matrix, bias = weights.linear("bert.pooler.dense")
    pooled = small_product(writer, states, "pooler", matrix, bias)
    plain = np.ones(weights.hidden, np.float32), np.zeros(weights.hidden, np.float32)
    pooled_states = States(writer.node("Tanh", pooled, name="pooled"), *plain)
    matrix, bias = weights.linear("classifier")
    small_product(writer, pooled_states, "logits", matrix, bias)
    return writer.model(
        {name: ["batch_size", "item_length"] for name in ("input_ids", "attention_mask")},
        {"keys": [layers, heads, size + 1, "key_length"], "values": [layers, heads, "key_length", size]},
        {"logits": ["batch_size", len(bias)]},
    )


def _embed(writer: GraphWriter, weights: Weights, norms: Norms, ids: str, places: str) -> States:
    words = writer.node("Gather", writer.weight("words", weights.words()), ids, name="word_embeddings")
    total = writer.node("Add", words, places, name="embeddings_sum")
    return norms.add(total, "all", "embeddings", "bert.embeddings.LayerNorm")


def _places(writer: GraphWriter, table: Array, tokens: str) -> str:
    """Add the embeddings of the first positions, as many as there are tokens: [tokens, hidden]."""
    zero = writer.integers(0)
    return writer.node("Slice", writer.weight("places", table), zero, tokens, zero, name="place_embeddings")


def _additive_mask(writer: GraphWriter) -> str:
    """Add the mask of the items' own scores, 0 on tokens and -1e9 on padding: [N, 1, 1, C]."""
    mask = writer.node("Mul", mask_below_zero(writer), writer.weight("masked", _MASKED), name="mask_scaled")
    return writer.node("Unsqueeze", mask, writer.integers(1, 2), name="mask")


def _own_key_count(writer: GraphWriter, weights: Weights) -> str:
    """Count the keys that stand for an item's own tokens, which have 1 in their last channel: [1]."""
    first = writer.integers(0, 0, weights.head_size)
    past = writer.integers(1, 1, weights.head_size + 1)
    marks = writer.node("Slice", "keys", first, past, writer.integers(0, 1, 2), name="own_marks")
    flat = writer.node("Reshape", marks, writer.integers(-1), name="own_marks_in_a_row")
    return writer.node("ReduceSum", flat, name="own_key_count", keepdims=1)


def _readout_rows(writer: GraphWriter, states: States, items: str) -> States:
    """Take the state of each item's closing token, of rows that are ordered by place: rows [N, hidden]."""
    lengths = writer.node("ReduceSum", "attention_mask", writer.integers(1), name="item_lengths", keepdims=0)
    closing = writer.node("Sub", lengths, writer.integers(1), name="readout_places")
    first = writer.node("Mul", closing, items, name="readout_places_first_row")
    count = writer.node("Squeeze", items, writer.integers(0), name="item_count")
    numbers = writer.node("Range", writer.integer(0), count, writer.integer(1), name="item_numbers")
    at = writer.node("Add", first, numbers, name="readout_row_numbers")
    return States(writer.node("Gather", states.rows, at, name="readout_rows"), states.gain, states.shift)


def _write_states(writer: GraphWriter, weights: Weights, tokens: str, keys: list[str], values: list[str]) -> None:
    """Stack the layers' keys and values, and append keys that stand for an item's own tokens, of value 0."""
    heads, layers = weights.heads, weights.layers
    zero, step = writer.weight("zero", 0.0), writer.integers(KEY_STEP)
    own = writer.node("Sub", step, writer.node("Mod", tokens, step, name="tokens_past_step"), name="own_key_count")
    key_pads = writer.node("Concat", writer.integers(*[0] * 7), own, name="key_pads", axis=0)
    value_pads = writer.node("Concat", writer.integers(*[0] * 6), own, writer.integers(0), name="value_pads", axis=0)
    stacked = writer.node("Concat", *keys, name="keys_stacked", axis=0)
    stacked = writer.node("Pad", stacked, key_pads, zero, name="keys_padded")
    # The extra channel is 0 in the history's keys and 1 in those that stand for an item's own tokens.
    channel = writer.node(
        "Expand",
        zero,
        writer.node("Concat", writer.integers(layers, heads, 1), tokens, name="channel_shape", axis=0),
        name="channel_of_history",
    )
    channel = writer.node("Pad", channel, key_pads, writer.weight("one", 1.0), name="channel")
    writer.node("Concat", stacked, channel, name="keys", axis=2)
    stacked = writer.node("Concat", *values, name="values_stacked", axis=0)
    writer.node("Pad", stacked, value_pads, zero, name="values")
