"""Attention of items' tokens to the history and to their own item, as nodes of a graph.

The letters in the shapes: N items, C tokens of the longest item, Q queries of each item (C, or 1 in the last layer,
where only the readout row has one), h heads of d channels each, P tokens of history, n keys behind the history that
stand for an item's own tokens, and K = P + n.

`attention_reference` says what is computed: one softmax over the history's keys and the item's own. `attend` computes
the same in these steps, so that no score is concatenated or split and the history is never repeated over the items:

1. The item's own tokens first: their softmax, and the sum of their exponentials as l = log Σ exp s.
2. The query carries l - log n as one more channel. The history's keys have 0 in that channel, and the n keys behind
   them have 1 there and 0 elsewhere. So one softmax over K keys gives the weights of the history, and for each of
   the n keys the same weight e^l / n divided by the whole sum.
3. n times that weight is the share of the item as a whole, by which the own softmax is multiplied.

Merging two softmaxes by their log-sum-exp is section 3 of Milakov and Gimelshein 2018 ("Online normalizer calculation
for softmax") and section 3.1 of FlashAttention (Dao et al. 2022). `shared_graphs` says why there are n keys.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.conversion.bert_weights import Array
from onyxrank_export.conversion.graph_writer import GraphWriter


def attend(
    writer: GraphWriter,
    heads: int,
    size: int,
    at: str,
    own: tuple[str, str, str],
    history: tuple[str, str],
    mask: str,
    own_key_count: str,
) -> str:
    """Add the attention of one layer to a graph.

    Args:
        writer: the graph.
        heads: h.
        size: d, the channels of a head.
        at: what the names of the nodes begin with.
        own: names of the items' queries [Q, N, h, d], keys and values [C, N, h, d]; queries are scaled by 1/√d.
        history: names of the layer's keys [1, h, d + 1, K] and values [1, h, K, d], the last n values zero.
        mask: name of what is added to the scores of an item's own tokens, [N, 1, 1 or Q, C]: -log n on tokens and a
            large negative number on padding.
        own_key_count: name of n, float [1].

    Returns:
        The name of the attended values, [Q · N, h · d].

    """
    last = writer.integers(-1)
    query, key, value = own  # [Q, N, h, d], [C, N, h, d], [C, N, h, d]
    keys, values = (
        writer.node("Squeeze", part, writer.integers(0), name=f"{part}_of_layer") for part in history
    )  # [h, d + 1, K], [h, K, d]

    # 1. The item's own tokens: softmax s, and log Σ exp s = max s − log max softmax(s).
    own_query = writer.node("Transpose", query, name=f"{at}_own_queries", perm=[1, 2, 0, 3])  # [N, h, Q, d]
    key = writer.node("Transpose", key, name=f"{at}_own_keys", perm=[1, 2, 3, 0])  # [N, h, d, C]
    value = writer.node("Transpose", value, name=f"{at}_own_values", perm=[1, 2, 0, 3])  # [N, h, C, d]
    scores = writer.node("MatMul", own_query, key, name=f"{at}_own_products")  # [N, h, Q, C]
    scores = writer.node("Add", scores, mask, name=f"{at}_own_scores")  # [N, h, Q, C]
    own_weights = writer.node("Softmax", scores, name=f"{at}_own_softmax", axis=-1)  # [N, h, Q, C]
    top_score = writer.node("ReduceMax", scores, last, name=f"{at}_own_top_score", keepdims=1)  # [N, h, Q, 1]
    top_weight = writer.node("ReduceMax", own_weights, last, name=f"{at}_own_top_weight", keepdims=1)  # [N, h, Q, 1]
    log = writer.node("Log", top_weight, name=f"{at}_own_log")  # [N, h, Q, 1]
    total = writer.node("Sub", top_score, log, name=f"{at}_own_logsumexp")  # [N, h, Q, 1]: l - log n, by the mask
    total = writer.node("Transpose", total, name=f"{at}_own_total", perm=[2, 0, 1, 3])  # [Q, N, h, 1]

    # 2. One softmax over the history and the keys that stand for the item.
    longer = writer.node("Concat", query, total, name=f"{at}_query_and_own", axis=-1)  # [Q, N, h, d + 1]
    by_row = writer.integers(-1, heads, size + 1)
    longer = writer.node("Reshape", longer, by_row, name=f"{at}_query_rows")  # [Q · N, h, d + 1]
    longer = writer.node("Transpose", longer, name=f"{at}_history_queries", perm=[1, 0, 2])  # [h, Q · N, d + 1]
    scores = writer.node("MatMul", longer, keys, name=f"{at}_history_scores")  # [h, Q · N, K]
    shared = writer.node("Softmax", scores, name=f"{at}_history_softmax", axis=-1)  # [h, Q · N, K]
    history_context = writer.node("MatMul", shared, values, name=f"{at}_history_context")  # [h, Q · N, d]

    # 3. The item's share of that softmax. It is multiplied by n as one long row, since onnxruntime multiplies value
    # by value where the last dimension is 1.
    share = writer.node("Gather", shared, last, name=f"{at}_last_weight", axis=-1)  # [h, Q · N, 1]
    share = writer.node("Reshape", share, last, name=f"{at}_last_weight_in_a_row")  # [h · Q · N]
    share = writer.node("Mul", share, own_key_count, name=f"{at}_own_share_in_a_row")  # [h · Q · N]
    share = writer.node("Reshape", share, writer.integers(heads, -1, 1), name=f"{at}_own_share")  # [h, Q · N, 1]
    own_context = writer.node("MatMul", own_weights, value, name=f"{at}_own_context")  # [N, h, Q, d]
    own_context = writer.node(
        "Transpose", own_context, name=f"{at}_own_context_heads_first", perm=[1, 2, 0, 3]
    )  # [h, Q, N, d]
    own_context = writer.node(
        "Reshape", own_context, writer.integers(heads, -1, size), name=f"{at}_own_rows"
    )  # [h, Q · N, d]
    own_context = writer.node("Mul", own_context, share, name=f"{at}_own_weighted")  # [h, Q · N, d]
    context = writer.node("Add", history_context, own_context, name=f"{at}_context")  # [h, Q · N, d]
    context = writer.node("Transpose", context, name=f"{at}_context_by_token", perm=[1, 0, 2])  # [Q · N, h, d]
    whole = writer.integers(-1, heads * size)
    return writer.node("Reshape", context, whole, name=f"{at}_attention")  # [Q · N, h · d]


def attention_reference(
    query: Array, key: Array, value: Array, history_keys: Array, history_values: Array, tokens: NDArray[np.bool_]
) -> Array:
    """Compute what `attend` does, query by query: slow, but obvious.

    Args:
        query: [Q, N, h, d], scaled by 1/√d.
        key: [C, N, h, d].
        value: [C, N, h, d].
        history_keys: [h, P, d].
        history_values: [h, P, d].
        tokens: bool [N, C], which of an item's places hold a token and no padding.

    Returns:
        [Q · N, h · d].

    """
    attended = np.empty_like(query)
    for place, item, head in np.ndindex(query.shape[:3]):
        own = tokens[item]  # [C]
        keys = np.concatenate([history_keys[head], key[own, item, head]])  # [P + own tokens, d]
        values = np.concatenate([history_values[head], value[own, item, head]])  # [P + own tokens, d]
        scores = keys @ query[place, item, head]  # [P + own tokens]
        weights = np.exp(scores - scores.max())
        attended[place, item, head] = (weights / weights.sum()) @ values  # [d]
    return attended.reshape(-1, query.shape[2] * query.shape[3])
