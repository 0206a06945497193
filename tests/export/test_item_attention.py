"""The attention that is written node by node, held to a NumPy reference that loops over queries."""

from __future__ import annotations

import numpy as np
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st

from onyxrank_export.conversion.graph_writer import GraphWriter
from onyxrank_export.conversion.item_attention import attend, attention_reference

MASKED = -1e9


def session(heads, size):
    """A graph of nothing but the attention, any number of tokens, items and keys."""
    writer = GraphWriter()
    own = ("query", "key", "value")
    output = attend(writer, heads, size, "layer", own, ("keys", "values"), "mask", "own_key_count")
    model = writer.model(
        {},
        {
            "query": ["queries", "items", heads, size],
            "key": ["tokens", "items", heads, size],
            "value": ["tokens", "items", heads, size],
            "keys": [1, heads, size + 1, "keys"],
            "values": [1, heads, "keys", size],
            "mask": ["items", 1, "mask_rows", "tokens"],
            "own_key_count": [1],
        },
        {output: ["rows", heads * size]},
    )
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def with_own_keys(keys, values, count):
    """The history as `attend` takes it: [1, h, d + 1, P + n] and [1, h, P + n, d] of two [h, P, d]."""
    heads, _, size = keys.shape
    channel = np.zeros((heads, 1, keys.shape[1]), np.float32)
    longer = np.concatenate([keys.transpose(0, 2, 1), channel], axis=1)
    own = np.zeros((heads, size + 1, count), np.float32)
    own[:, -1] = 1
    padded = np.pad(values, ((0, 0), (0, count), (0, 0)))
    return np.concatenate([longer, own], axis=2)[None], padded[None]


@settings(max_examples=100, deadline=None)
@given(
    items=st.integers(1, 5),
    tokens=st.integers(1, 6),
    heads=st.integers(1, 4),
    size=st.integers(1, 8),
    past=st.integers(1, 20),
    own_keys=st.integers(1, 16),
    readout=st.booleans(),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_graph_gives_what_the_reference_does(items, tokens, heads, size, past, own_keys, readout, spread, seed):
    dice = np.random.default_rng(seed)

    def draw(*shape, scale=1.0):
        return (scale * dice.standard_normal(shape)).astype(np.float32)

    query = draw(1 if readout else tokens, items, heads, size, scale=spread)
    key, value = draw(tokens, items, heads, size, scale=spread), draw(tokens, items, heads, size)
    history_keys, history_values = draw(heads, past, size, scale=spread), draw(heads, past, size)
    lengths = dice.integers(1, tokens, items, endpoint=True)
    real = np.arange(tokens) < lengths[:, None]
    keys, values = with_own_keys(history_keys, history_values, own_keys)
    mask = np.where(real, 0, MASKED) - np.log(own_keys)
    mask = np.broadcast_to(mask[:, None, None, :], (items, 1, len(query), tokens))
    [attended] = session(heads, size).run(
        None,
        {
            "query": query,
            "key": key,
            "value": value,
            "keys": keys,
            "values": values,
            "mask": np.ascontiguousarray(mask, np.float32),
            "own_key_count": np.array([own_keys], np.float32),
        },
    )
    expected = attention_reference(query, key, value, history_keys, history_values, real)
    np.testing.assert_allclose(attended, expected, rtol=0, atol=2e-4 if spread > 1 else 1e-5)


def test_the_reference_is_a_mean_of_values_where_all_scores_are_alike():
    query = np.zeros((1, 1, 1, 2), np.float32)
    key, value = np.ones((2, 1, 1, 2), np.float32), np.array([[6, 0], [99, 99]], np.float32).reshape(2, 1, 1, 2)
    history = np.array([[[0, 3], [0, 3]]], np.float32)
    attended = attention_reference(query, key, value, history, history, np.array([[True, False]]))
    assert attended.tolist() == [[2, 2]], "padding is not attended to"
