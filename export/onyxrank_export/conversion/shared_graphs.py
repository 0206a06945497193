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
4. In the last layer only the readout row has a query, an attention output and a feed-forward.
5. Skip connection and layer norm, bias and GELU are onnxruntime's fused operators; positions and the segment are one
   constant; the mask is made once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from transformers import PretrainedConfig, PreTrainedModel

from onyxrank._truncation import Limits
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.graph_writer import FUSED, GraphWriter

Array: TypeAlias = NDArray[np.float32]

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


class Weights:
    """A model's weights as float32 arrays, matrices [in, out], by what they do."""

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config
        self.layers: int = config.num_hidden_layers
        self.heads: int = config.num_attention_heads
        self.hidden: int = config.hidden_size
        self.head_size: int = config.hidden_size // config.num_attention_heads
        self.epsilon: float = config.layer_norm_eps
        self.item_position: int = config.item_position
        self._state: dict[str, Array] = {
            name: value.detach().float().numpy() for name, value in model.state_dict().items()
        }

    def linear(self, name: str) -> tuple[Array, Array]:
        """Matrix [in, out] and bias [out]."""
        return self._state[f"{name}.weight"].T, self._state[f"{name}.bias"]

    def norm(self, name: str) -> tuple[Array, Array]:
        """Gain and bias of a layer norm."""
        return self._state[f"{name}.weight"], self._state[f"{name}.bias"]

    def words(self) -> Array:
        """Word embeddings [vocabulary, hidden]."""
        return self._state["bert.embeddings.word_embeddings.weight"]

    def places(self, first: int, count: int, segment: int) -> Array:
        """Embeddings of positions and of their segment, [count, hidden]."""
        positions = self._state["bert.embeddings.position_embeddings.weight"][first : first + count]
        segments = self._state["bert.embeddings.token_type_embeddings.weight"]
        return np.asarray(positions + segments[segment], dtype=np.float32)

    def query(self, layer: int) -> tuple[Array, Array]:
        """The query's projection, scaled."""
        matrix, bias = self.linear(f"bert.encoder.layer.{layer}.attention.self.query")
        scale = np.float32(self.head_size**-0.5)
        return matrix * scale, bias * scale

    def key_value(self, layer: int) -> Array:
        """The projections of key and value without their biases, [hidden, 2 · hidden]."""
        attention = f"bert.encoder.layer.{layer}.attention.self"
        return np.hstack([self.linear(f"{attention}.key")[0], self.linear(f"{attention}.value")[0]])

    def attention_output(self, layer: int) -> tuple[Array, Array]:
        """The projection after attention; its bias carries the value's."""
        attention = f"bert.encoder.layer.{layer}.attention"
        matrix, bias = self.linear(f"{attention}.output.dense")
        return matrix, bias + self.linear(f"{attention}.self.value")[1] @ matrix


def history_graph(weights: Weights, limits: Limits) -> onnx.ModelProto:
    """``input_ids`` int64 [1, P] → ``keys``, ``values`` as in `HistoryState`."""
    writer = GraphWriter()
    heads, size, layers = weights.heads, weights.head_size, weights.layers
    tokens = writer.node("Shape", "input_ids", name="tokens", start=1, end=2)
    states = _embed(writer, weights, tokens, weights.places(0, limits.history_tokens + 2, _HISTORY_SEGMENT))
    keys: list[str] = []
    values: list[str] = []
    for layer in range(layers):
        at, last = f"layer_{layer}", layer == layers - 1
        if last:
            product = _product(writer, states, f"{at}_key_value", weights.key_value(layer))
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
        bias = writer.weight(f"{at}_query_bias", weights.query(layer)[1])
        query = writer.node("Add", query, bias, name=f"{at}_query_biased")
        attended = writer.node(
            "MultiHeadAttention", query, key, value, name=f"{at}_attention", domain=FUSED, num_heads=heads, scale=1.0
        )
        states = _after_attention(writer, weights, layer, attended, states)
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
    places = weights.places(weights.item_position, limits.item_tokens + 1, _ITEM_SEGMENT)
    states = _embed(writer, weights, tokens, places)
    mask = _additive_mask(writer)
    keys = writer.split("keys", tuple(f"layer_{layer}_history_keys" for layer in range(layers)), axis=0)
    values = writer.split("values", tuple(f"layer_{layer}_history_values" for layer in range(layers)), axis=0)
    for layer in range(layers):
        at, last = f"layer_{layer}", layer == layers - 1
        if last:
            rows = _heads_first(
                writer, _product(writer, states, f"{at}_key_value", weights.key_value(layer)), heads * 2, size
            )
            key, value = writer.split(rows, (f"{at}_key", f"{at}_value"), axis=0)
            states = _readout_rows(writer, states)
            query = _product(writer, states, f"{at}_query", weights.query(layer)[0])
            query = _heads_first(writer, query, heads, size)
        else:
            rows = _heads_first(writer, _query_key_value(writer, weights, states, layer), heads * 3, size)
            query, key, value = writer.split(rows, (f"{at}_query", f"{at}_key", f"{at}_value"), axis=0)
        bias = writer.weight(f"{at}_query_bias", weights.query(layer)[1].reshape(heads, 1, 1, size))
        query = writer.node("Add", query, bias, name=f"{at}_query_biased")
        attended = _attend(writer, weights, at, (query, key, value), (keys[layer], values[layer]), mask)
        states = _after_attention(writer, weights, layer, attended, states)
    rows = writer.node("Squeeze", states, writer.integers(1), name="readout")
    for name in ("bert.pooler.dense", "classifier"):
        matrix, offset = weights.linear(name)
        short = name.partition(".")[2].replace(".", "_") or name
        final = name == "classifier"
        rows = writer.node(
            "Gemm",
            rows,
            writer.weight(f"{short}_weight", matrix),
            writer.weight(f"{short}_bias", offset),
            name="logits" if final else short,
        )
        if not final:
            rows = writer.node("Tanh", rows, name=f"{short}_tanh")
    classes = len(weights.linear("classifier")[1])
    return writer.model(
        {name: ["batch_size", "item_length"] for name in ("input_ids", "attention_mask")},
        {"keys": [layers, heads, size + 1, "key_length"], "values": [layers, heads, "key_length", size]},
        {"logits": ["batch_size", classes]},
    )


def _attend(
    writer: GraphWriter,
    weights: Weights,
    at: str,
    own: tuple[str, str, str],
    history: tuple[str, str],
    mask: str,
) -> str:
    """Attention of items' tokens to the history and their own item: [N, C or 1, hidden]; see the module's text."""
    heads, size = weights.heads, weights.head_size
    query, key, value = own
    scores = writer.node("FusedMatMul", query, key, name=f"{at}_own_products", domain=FUSED, transB=1)
    scores = writer.node("Add", scores, mask, name=f"{at}_own_scores")
    own_weights = writer.node("Softmax", scores, name=f"{at}_own_softmax", axis=-1)
    # log Σ exp s = max s − log max softmax(s)
    last = writer.integers(-1)
    top_score = writer.node("ReduceMax", scores, last, name=f"{at}_own_top_score", keepdims=1)
    top_weight = writer.node("ReduceMax", own_weights, last, name=f"{at}_own_top_weight", keepdims=1)
    total = writer.node(
        "Sub", top_score, writer.node("Log", top_weight, name=f"{at}_own_log"), name=f"{at}_own_logsumexp"
    )
    longer = writer.node("Concat", query, total, name=f"{at}_query_and_own", axis=-1)
    longer = writer.node("Reshape", longer, writer.integers(heads, -1, size + 1), name=f"{at}_query_rows")
    keys, values = (writer.node("Squeeze", part, writer.integers(0), name=f"{part}_of_layer") for part in history)
    scores = writer.node("MatMul", longer, keys, name=f"{at}_history_scores")
    shared = writer.node("Softmax", scores, name=f"{at}_history_softmax", axis=-1)
    of_history = writer.node("MatMul", shared, values, name=f"{at}_history_context")
    own_share = writer.node("Slice", shared, last, writer.integers(2**31 - 1), last, name=f"{at}_own_share")
    of_own = writer.node("MatMul", own_weights, value, name=f"{at}_own_context")
    shape = writer.node("Shape", of_own, name=f"{at}_context_shape")
    of_own = writer.node("Reshape", of_own, writer.integers(heads, -1, size), name=f"{at}_own_rows")
    of_own = writer.node("Mul", of_own, own_share, name=f"{at}_own_weighted")
    context = writer.node("Add", of_history, of_own, name=f"{at}_context_rows")
    context = writer.node("Reshape", context, shape, name=f"{at}_context")
    context = writer.node("Transpose", context, name=f"{at}_context_by_token", perm=[1, 2, 0, 3])
    return writer.node("Reshape", context, writer.integers(0, 0, weights.hidden), name=f"{at}_attention")


def _embed(writer: GraphWriter, weights: Weights, tokens: str, places: Array) -> str:
    words = writer.node("Gather", writer.weight("words", weights.words()), "input_ids", name="word_embeddings")
    zero = writer.integers(0)
    at_places = writer.node("Slice", writer.weight("places", places), zero, tokens, zero, name="place_embeddings")
    return _skip_norm(writer, weights, "embeddings", words, at_places, "bert.embeddings.LayerNorm")


def _additive_mask(writer: GraphWriter) -> str:
    """0 on tokens and a large negative number on padding: [1, N, 1, C]."""
    mask = writer.node("Cast", "attention_mask", name="mask_float", to=onnx.TensorProto.FLOAT)
    mask = writer.node("Sub", mask, writer.weight("one", 1.0), name="mask_below_zero")
    mask = writer.node("Mul", mask, writer.weight("masked", _MASKED), name="mask_scaled")
    return writer.node("Unsqueeze", mask, writer.integers(0, 2), name="mask")


def _readout_rows(writer: GraphWriter, states: str) -> str:
    """The state of each item's closing token: [N, 1, hidden]."""
    lengths = writer.node("ReduceSum", "attention_mask", writer.integers(1), name="item_lengths", keepdims=1)
    closing = writer.node("Sub", lengths, writer.integers(1), name="readout_columns")
    rows = writer.node("GatherND", states, closing, name="readout_states", batch_dims=1)
    return writer.node("Unsqueeze", rows, writer.integers(1), name="readout_rows")


def _query_key_value(writer: GraphWriter, weights: Weights, states: str, layer: int) -> str:
    matrix = np.hstack([weights.query(layer)[0], weights.key_value(layer)])
    return _product(writer, states, f"layer_{layer}_query_key_value", matrix)


def _after_attention(writer: GraphWriter, weights: Weights, layer: int, attended: str, states: str) -> str:
    """Output projection, feed-forward, and the skip connection and layer norm after each."""
    at, source = f"layer_{layer}", f"bert.encoder.layer.{layer}"
    matrix, bias = weights.attention_output(layer)
    projected = _product(writer, attended, f"{at}_attention_output", matrix)
    states = _skip_norm(
        writer, weights, f"{at}_attended", projected, states, f"{source}.attention.output.LayerNorm", bias
    )
    matrix, bias = weights.linear(f"{source}.intermediate.dense")
    inner = _product(writer, states, f"{at}_intermediate", matrix)
    inner = writer.node(
        "BiasGelu", inner, writer.weight(f"{at}_intermediate_bias", bias), name=f"{at}_gelu", domain=FUSED
    )
    matrix, bias = weights.linear(f"{source}.output.dense")
    outer = _product(writer, inner, f"{at}_output", matrix)
    return _skip_norm(writer, weights, f"{at}_states", outer, states, f"{source}.output.LayerNorm", bias)


def _skip_norm(
    writer: GraphWriter, weights: Weights, name: str, rows: str, skip: str, norm: str, bias: Array | None = None
) -> str:
    gain, shift = weights.norm(norm)
    inputs = [rows, skip, writer.weight(f"{name}_gain", gain), writer.weight(f"{name}_shift", shift)]
    if bias is not None:
        inputs.append(writer.weight(f"{name}_bias", bias))
    return writer.node("SkipLayerNormalization", *inputs, name=name, domain=FUSED, epsilon=weights.epsilon)


def _product(writer: GraphWriter, rows: str, name: str, matrix: Array) -> str:
    return writer.node("MatMul", rows, writer.weight(f"{name}_weight", matrix), name=f"{name}_product")


def _heads_first(writer: GraphWriter, rows: str, parts: int, size: int) -> str:
    """[N, C, parts · size] → [parts, N, C, size]."""
    split = writer.node("Reshape", rows, writer.integers(0, 0, parts, size), name=f"{rows}_per_head")
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
