"""The two graphs of shared-history, written from a trained model's weights.

`history` turns token ids [1, P] into every layer's keys and values; `items` turns item ids [N, C] and these into
logits [N, classes]. What makes them fast, all of it exact:

1. The queries of all candidates are multiplied with the one history matrix, heads first: [N·C, d] × [d, P] per head.
   The history is never repeated over the candidates.
2. An item's token attends to the history and to its own item under one softmax. The scores of its own item are
   summed up first (log-sum-exp l); the query carries l as one more channel and the history one more key that picks
   it up, so that the softmax over P + 1 scores gives the weights of the history and, last, that of the item. Scores
   are neither concatenated nor split. (The merge is that of Milakov and Gimelshein 2018, section 3, and of
   FlashAttention, Dao et al. 2022, section 3.1.)
3. Query, key and value are one product. The scale 1/√d is in the query's weights; the key's bias is left out, since
   it adds the same to all scores of a row; the value's bias passes through the softmax unchanged and is added to the
   bias of the next product.
4. A layer norm's gain and shift are in the weights and biases of the products that read it, so that what is left of
   it is InstanceNormalization over each row: onnxruntime vectorizes that, and its fused SkipLayerNormalization not
   (benchmarks/NOTES.md). Rows are two-dimensional, so that every bias joins its product.
5. In the last layer only the readout row has a query, an attention output and a feed-forward.
6. Positions and the segment are one constant; the mask is made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from transformers import PretrainedConfig, PreTrainedModel

from onyxrank._truncation import Limits
from onyxrank_export.conversion.bert_weights import Array, Weights
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.graph_writer import FUSED, GraphWriter

_MASKED = 1e9
_ITEM_SEGMENT, _HISTORY_SEGMENT = 1, 0


def write_graphs(model: PreTrainedModel, limits: Limits, history: Path, items: Path) -> None:
    """Write both graphs in fp32.

    Args:
        model: a trained `SharedHistoryForSequenceClassification`.
        limits: the longest history and item that will come.
        history: the file of the one.
        items: the file of the other.

    Raises:
        ExportError: if the model's activation or positions are not plain BERT's.

    """
    check_plain_bert(model.config)
    weights = Weights(model)
    onnx.save(history_graph(weights, limits), history)
    onnx.save(items_graph(weights, limits), items)


def check_plain_bert(config: PretrainedConfig) -> None:
    """Refuse what these graphs would compute wrongly.

    Raises:
        ExportError: naming the setting.

    """
    if config.hidden_act != "gelu":
        raise ExportError(f"the model's activation is {config.hidden_act}; shared-history is exported with gelu only")
    kind = getattr(config, "position_embedding_type", "absolute")
    if kind != "absolute":
        raise ExportError(f"the model's positions are {kind}; shared-history is exported with absolute ones only")


def products_per_graph(layers: int) -> dict[str, int]:
    """How many large products with constant weights each graph has, by role."""
    return {"history": 4 * (layers - 1) + 1, "items": 4 * (layers - 1) + 5}


@dataclass(frozen=True, slots=True)
class States:
    """Token states [rows, hidden]: ``rows · gain + shift``, with gain and shift in the weights of what reads them."""

    rows: str
    gain: Array
    shift: Array


def history_graph(weights: Weights, limits: Limits) -> onnx.ModelProto:
    """``input_ids`` int64 [1, P] → ``keys``, ``values`` as in `HistoryState`."""
    writer = GraphWriter()
    heads, size, layers = weights.heads, weights.head_size, weights.layers
    tokens = writer.node("Shape", "input_ids", name="tokens", start=1, end=2)
    norms = _Norms(writer, weights, {"all": tokens})
    states = _embed(writer, weights, norms, tokens, weights.places(0, limits.history_tokens + 2, _HISTORY_SEGMENT))
    keys: list[str] = []
    values: list[str] = []
    for layer in range(layers):
        at, last = f"layer_{layer}", layer == layers - 1
        if last:
            product = _key_value(writer, weights, states, layer)
            key, value = writer.split(product, (f"{at}_key", f"{at}_value"), axis=-1)
        else:
            product = _query_key_value(writer, weights, states, layer)
            query, key, value = writer.split(product, (f"{at}_query", f"{at}_key", f"{at}_value"), axis=-1)
        shape = writer.integers(-1, heads, size)
        for name, part, order, kept in (("key", key, [1, 2, 0], keys), ("value", value, [1, 0, 2], values)):
            per_head = writer.node("Reshape", part, shape, name=f"{at}_{name}_per_head")
            moved = writer.node("Transpose", per_head, name=f"{at}_{name}_heads_first", perm=order)
            kept.append(writer.node("Unsqueeze", moved, writer.integers(0), name=f"{at}_{name}_kept"))
        if last:
            break
        parts = [
            writer.node("Unsqueeze", part, writer.integers(0), name=f"{part}_row") for part in (query, key, value)
        ]
        attended = writer.node(
            "MultiHeadAttention", *parts, name=f"{at}_attention", domain=FUSED, num_heads=heads, scale=1.0
        )
        attended = writer.node("Squeeze", attended, writer.integers(0), name=f"{at}_attention_rows")
        states = _after_attention(writer, weights, norms, layer, attended, states, "all")
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
    shape = writer.node("Shape", "input_ids", name="shape")
    tokens = writer.node("Shape", "input_ids", name="tokens", start=1, end=2)
    cells = writer.node("Reshape", writer.node("Size", "input_ids", name="size"), writer.integers(1), name="cells")
    items = writer.node("Shape", "input_ids", name="items", start=0, end=1)
    norms = _Norms(writer, weights, {"all": cells, "readout": items})
    places = weights.places(weights.item_position, limits.item_tokens + 1, _ITEM_SEGMENT)
    states = _embed(writer, weights, norms, tokens, places)
    mask = _additive_mask(writer)
    keys = writer.split("keys", tuple(f"layer_{layer}_history_keys" for layer in range(layers)), axis=0)
    values = writer.split("values", tuple(f"layer_{layer}_history_values" for layer in range(layers)), axis=0)
    for layer in range(layers):
        at, last = f"layer_{layer}", layer == layers - 1
        if last:
            rows = _heads_first(writer, _key_value(writer, weights, states, layer), shape, heads * 2, size)
            key, value = writer.split(rows, (f"{at}_key", f"{at}_value"), axis=0)
            states = _readout_rows(writer, weights, states, shape)
            query = _product(writer, states, f"{at}_query", *weights.query(layer))
            one_row = writer.node("Concat", items, writer.integers(1), name="shape_of_readout", axis=0)
            query = _heads_first(writer, query, one_row, heads, size)
        else:
            rows = _query_key_value(writer, weights, states, layer)
            rows = _heads_first(writer, rows, shape, heads * 3, size)
            query, key, value = writer.split(rows, (f"{at}_query", f"{at}_key", f"{at}_value"), axis=0)
        attended = _attend(writer, weights, at, (query, key, value), (keys[layer], values[layer]), mask)
        states = _after_attention(writer, weights, norms, layer, attended, states, "readout" if last else "all")
    matrix, bias = weights.linear("bert.pooler.dense")
    pooled = _head(writer, states, "pooler", matrix, bias)
    plain = np.ones(weights.hidden, np.float32), np.zeros(weights.hidden, np.float32)
    pooled_states = States(writer.node("Tanh", pooled, name="pooled"), *plain)
    matrix, bias = weights.linear("classifier")
    _head(writer, pooled_states, "logits", matrix, bias)
    return writer.model(
        {name: ["batch_size", "item_length"] for name in ("input_ids", "attention_mask")},
        {"keys": [layers, heads, size + 1, "key_length"], "values": [layers, heads, "key_length", size]},
        {"logits": ["batch_size", len(bias)]},
    )


class _Norms:
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


def _attend(
    writer: GraphWriter,
    weights: Weights,
    at: str,
    own: tuple[str, str, str],
    history: tuple[str, str],
    mask: str,
) -> str:
    """Attention of items' tokens to the history and their own item: [rows, hidden]; see the module's text."""
    heads, size = weights.heads, weights.head_size
    query, key, value = own
    scores = writer.node("FusedMatMul", query, key, name=f"{at}_own_products", domain=FUSED, transB=1)
    scores = writer.node("Add", scores, mask, name=f"{at}_own_scores")
    own_weights = writer.node("Softmax", scores, name=f"{at}_own_softmax", axis=-1)
    # log Σ exp s = max s − log max softmax(s)
    last = writer.integers(-1)
    top_score = writer.node("ReduceMax", scores, last, name=f"{at}_own_top_score", keepdims=1)
    top_weight = writer.node("ReduceMax", own_weights, last, name=f"{at}_own_top_weight", keepdims=1)
    log = writer.node("Log", top_weight, name=f"{at}_own_log")
    total = writer.node("Sub", top_score, log, name=f"{at}_own_logsumexp")
    longer = writer.node("Concat", query, total, name=f"{at}_query_and_own", axis=-1)
    longer = writer.node("Reshape", longer, writer.integers(heads, -1, size + 1), name=f"{at}_query_rows")
    keys, values = (writer.node("Squeeze", part, writer.integers(0), name=f"{part}_of_layer") for part in history)
    scores = writer.node("MatMul", longer, keys, name=f"{at}_history_scores")
    shared = writer.node("Softmax", scores, name=f"{at}_history_softmax", axis=-1)
    of_history = writer.node("MatMul", shared, values, name=f"{at}_history_context")
    own_share = writer.node("Slice", shared, last, writer.integers(2**31 - 1), last, name=f"{at}_own_share")
    of_own = writer.node("MatMul", own_weights, value, name=f"{at}_own_context")
    of_own = writer.node("Reshape", of_own, writer.integers(heads, -1, size), name=f"{at}_own_rows")
    of_own = writer.node("Mul", of_own, own_share, name=f"{at}_own_weighted")
    context = writer.node("Add", of_history, of_own, name=f"{at}_context")
    context = writer.node("Transpose", context, name=f"{at}_context_by_token", perm=[1, 0, 2])
    return writer.node("Reshape", context, writer.integers(-1, weights.hidden), name=f"{at}_attention")


def _embed(writer: GraphWriter, weights: Weights, norms: _Norms, tokens: str, places: Array) -> States:
    words = writer.node("Gather", writer.weight("words", weights.words()), "input_ids", name="word_embeddings")
    zero = writer.integers(0)
    at_places = writer.node("Slice", writer.weight("places", places), zero, tokens, zero, name="place_embeddings")
    return norms.add(
        writer.node("Add", words, at_places, name="embeddings_sum"), "all", "embeddings", "bert.embeddings.LayerNorm"
    )


def _additive_mask(writer: GraphWriter) -> str:
    """0 on tokens and a large negative number on padding: [1, N, 1, C]."""
    mask = writer.node("Cast", "attention_mask", name="mask_float", to=onnx.TensorProto.FLOAT)
    mask = writer.node("Sub", mask, writer.weight("one", 1.0), name="mask_below_zero")
    mask = writer.node("Mul", mask, writer.weight("masked", _MASKED), name="mask_scaled")
    return writer.node("Unsqueeze", mask, writer.integers(0, 2), name="mask")


def _readout_rows(writer: GraphWriter, weights: Weights, states: States, shape: str) -> States:
    """The state of each item's closing token: [N, hidden]."""
    lengths = writer.node("ReduceSum", "attention_mask", writer.integers(1), name="item_lengths", keepdims=1)
    closing = writer.node("Sub", lengths, writer.integers(1), name="readout_columns")
    whole = writer.node("Concat", shape, writer.integers(weights.hidden), name="shape_of_states", axis=0)
    by_item = writer.node("Reshape", states.rows, whole, name="states_by_item")
    rows = writer.node("GatherND", by_item, closing, name="readout_rows", batch_dims=1)
    return States(rows, states.gain, states.shift)


def _query_key_value(writer: GraphWriter, weights: Weights, states: States, layer: int) -> str:
    query, query_bias = weights.query(layer)
    matrix = np.hstack([query, weights.key_value(layer)])
    bias = np.pad(query_bias, (0, matrix.shape[1] - len(query_bias)))
    return _product(writer, states, f"layer_{layer}_query_key_value", matrix, bias)


def _key_value(writer: GraphWriter, weights: Weights, states: States, layer: int) -> str:
    matrix = weights.key_value(layer)
    return _product(writer, states, f"layer_{layer}_key_value", matrix, np.zeros(matrix.shape[1], np.float32))


def _after_attention(
    writer: GraphWriter, weights: Weights, norms: _Norms, layer: int, attended: str, states: States, kind: str
) -> States:
    """Output projection, feed-forward, and the skip connection and layer norm after each."""
    at, source = f"layer_{layer}", f"bert.encoder.layer.{layer}"
    matrix, bias = weights.attention_output(layer)
    added = _project_and_add(writer, attended, f"{at}_attention_output", matrix, bias, states)
    states = norms.add(added, kind, f"{at}_attended", f"{source}.attention.output.LayerNorm")
    inner = _product(writer, states, f"{at}_intermediate", *weights.linear(f"{source}.intermediate.dense"))
    inner = writer.node("Gelu", inner, name=f"{at}_gelu", domain=FUSED)
    matrix, bias = weights.linear(f"{source}.output.dense")
    added = _project_and_add(writer, inner, f"{at}_output", matrix, bias, states)
    return norms.add(added, kind, f"{at}_states", f"{source}.output.LayerNorm")


def _project_and_add(writer: GraphWriter, rows: str, name: str, matrix: Array, bias: Array, skip: States) -> str:
    """Project rows back to the hidden size and add the skip connection; its shift is in the product's bias."""
    product = _biased(writer, rows, name, matrix, bias + skip.shift)
    scaled = writer.node("Mul", skip.rows, writer.weight(f"{name}_skip_gain", skip.gain), name=f"{name}_skip")
    return writer.node("Add", product, scaled, name=f"{name}_added")


def _product(writer: GraphWriter, states: States, name: str, matrix: Array, bias: Array) -> str:
    return _biased(writer, states.rows, name, *_folded(states, matrix, bias))


def _folded(states: States, matrix: Array, bias: Array) -> tuple[Array, Array]:
    """Weights and bias of a product that reads normalized rows without their gain and shift."""
    return states.gain[:, None] * matrix, bias + states.shift @ matrix


def _biased(writer: GraphWriter, rows: str, name: str, matrix: Array, bias: Array) -> str:
    product = writer.node("MatMul", rows, writer.weight(f"{name}_weight", matrix), name=f"{name}_product")
    return writer.node("Add", product, writer.weight(f"{name}_bias", bias), name=name)


def _head(writer: GraphWriter, states: States, name: str, matrix: Array, bias: Array) -> str:
    """A small product that stays fp32: one row an item."""
    matrix, bias = _folded(states, matrix, bias)
    return writer.node(
        "Gemm", states.rows, writer.weight(f"{name}_weight", matrix), writer.weight(f"{name}_bias", bias), name=name
    )


def _heads_first(writer: GraphWriter, rows: str, shape: str, parts: int, size: int) -> str:
    """[N · C, parts · size] → [parts, N, C, size], with N and C in `shape`."""
    whole = writer.node("Concat", shape, writer.integers(parts, size), name=f"{rows}_shape", axis=0)
    split = writer.node("Reshape", rows, whole, name=f"{rows}_per_head")
    return writer.node("Transpose", split, name=f"{rows}_heads_first", perm=[2, 0, 1, 3])


def _write_states(writer: GraphWriter, weights: Weights, tokens: str, keys: list[str], values: list[str]) -> None:
    """Stack the layers and add the key, with a zero value, that stands for an item's own tokens."""
    heads, layers = weights.heads, weights.layers
    zero = writer.weight("zero", 0.0)
    stacked = writer.node("Concat", *keys, name="keys_stacked", axis=0)
    stacked = writer.node("Pad", stacked, writer.integers(0, 0, 0, 0, 0, 0, 0, 1), zero, name="keys_padded")
    # The new channel is 0 for the history's keys and 1 for the new key.
    channel = writer.node(
        "Expand",
        zero,
        writer.node("Concat", writer.integers(layers, heads, 1), tokens, name="channel_shape", axis=0),
        name="channel_of_history",
    )
    channel = writer.node(
        "Pad", channel, writer.integers(0, 0, 0, 0, 0, 0, 0, 1), writer.weight("one", 1.0), name="channel"
    )
    writer.node("Concat", stacked, channel, name="keys", axis=2)
    stacked = writer.node("Concat", *values, name="values_stacked", axis=0)
    writer.node("Pad", stacked, writer.integers(0, 0, 0, 0, 0, 0, 1, 0), zero, name="values")
