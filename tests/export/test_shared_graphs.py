from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig

from onyxrank import Cuts, Limits
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import PAIR, pair_feeds
from onyxrank.architectures.readout import Readout, margins_of
from onyxrank.architectures.shared_history import KEY_STEP, SharedHistory, history_state, item_feeds
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.fp32 import export_fp32
from onyxrank_export.conversion.parity import check_parity, check_parity_of_two, eager_logits
from onyxrank_export.conversion.sessions import opened_session
from onyxrank_export.conversion.shared_graphs import products_per_graph, write_graphs
from onyxrank_export.training.shared_history import SharedHistoryForSequenceClassification, first_item_position

LIMITS = Limits(history_tokens=30, item_tokens=6)
CLS, SEP = 2, 3
GRAPHS = SharedHistory.graphs
tokens = st.integers(5, 39)
histories = st.lists(tokens, max_size=30).map(lambda ids: [CLS, *ids, SEP])
items = st.lists(st.lists(tokens, min_size=1, max_size=6).map(lambda ids: [*ids, SEP]), min_size=1, max_size=7)


def build(layers=3, **changes):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.3,  # wide enough that what a token sees shows in the logits
        item_position=first_item_position(LIMITS),
        **changes,
    )
    model = SharedHistoryForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # every bias counts: a fresh model has them at 0
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    export_fp32(model, folder / "model.onnx")
    write_graphs(model, LIMITS, folder / "history.onnx", folder / "items.onnx")
    return folder


@pytest.fixture(scope="module")
def sessions(folder):
    with (
        opened_session(folder / "history.onnx", GRAPHS["history"]) as history,
        opened_session(folder / "items.onnx", GRAPHS["items"]) as of_items,
        opened_session(folder / "model.onnx", PAIR) as pairs,
    ):
        yield history, of_items, pairs


def request(history, candidates):
    return EncodedRequest(np.array(history, np.int32), Ragged.of(candidates), Cuts())


def engine(sessions, budget=64, cache_bytes=2**20):
    history, of_items, _ = sessions
    limits = BatchLimits(micro_batch_tokens=budget)
    graphs = {"history": history, "items": of_items}
    return SharedHistory(graphs, "softmax", limits, cache_bytes=cache_bytes)


def on_pairs(model, row):
    return probabilities(eager_logits(model, pair_feeds(Call([row]), np.arange(len(row.items)), 0)))


def probabilities(logits):
    return Readout().probabilities(margins_of(logits, "softmax", len(logits)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(histories, items), min_size=1, max_size=3),
    st.integers(1, 60),
    st.sampled_from([0, 15_000, 45_000, 100_000, 2**20]),
    st.lists(st.integers(0, 2), max_size=8),
)
def test_the_two_graphs_give_pytorchs_scores_for_any_list_and_split(
    model, sessions, lists, budget, cache_bytes, again
):
    """Whatever the cache holds: in 45,000 bytes one to three histories, and they come back in any order."""
    architecture = engine(sessions, budget, cache_bytes)
    requests = [request(history, candidates) for history, candidates in lists]
    expected = [on_pairs(model, row) for row in requests]
    for scores, wanted in zip(architecture.score(requests), expected, strict=True):
        np.testing.assert_allclose(scores, wanted, rtol=0, atol=2e-5)
    for number in (number % len(requests) for number in again):
        np.testing.assert_allclose(architecture.score([requests[number]])[0], expected[number], rtol=0, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(histories, items, st.integers(1, 60))
def test_the_two_graphs_and_the_one_agree(sessions, history, candidates, budget):
    row = request(history, candidates)
    [logits] = sessions[2].run(pair_feeds(Call([row]), np.arange(len(candidates)), 0))
    scores = engine(sessions, budget).score([row])[0]
    np.testing.assert_allclose(scores, probabilities(logits), rtol=0, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(histories, items, st.integers(1, 60))
def test_a_score_does_not_depend_on_the_neighbours(sessions, history, candidates, budget):
    architecture = engine(sessions, budget)
    together = architecture.score([request(history, candidates)])[0]
    alone = [architecture.score([request(history, [item])])[0][0] for item in candidates]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(histories)
def test_keys_come_in_steps_and_the_last_ones_stand_for_the_item(sessions, history):
    keys, values = sessions[0].run({"input_ids": np.array([history])})
    own, count = keys[:, :, -1], keys.shape[-1]
    assert values.shape[2] == count == (len(history) // KEY_STEP + 1) * KEY_STEP
    assert not own[..., : len(history)].any()
    assert (own[..., len(history) :] == 1).all()
    assert not keys[:, :, :-1, len(history) :].any()
    assert not values[:, :, len(history) :].any()


@settings(max_examples=30, deadline=None)
@given(histories, items, st.integers(1, 40))
def test_any_number_of_keys_may_stand_for_the_item(sessions, history, candidates, count):
    """One, as in bundles of before, or more than are made now."""
    of_history, of_items, _ = sessions
    feeds = item_feeds(
        Ragged.of(candidates), np.arange(len(candidates)), 0, history_state(of_history, np.array(history))
    )
    [expected] = of_items.run(feeds)
    keys = np.pad(feeds["keys"][..., : len(history)], ((0, 0), (0, 0), (0, 0), (0, count)))
    keys[:, :, -1, -count:] = 1
    values = np.pad(feeds["values"][:, :, : len(history)], ((0, 0), (0, 0), (0, count), (0, 0)))
    [logits] = of_items.run({**feeds, "keys": keys, "values": values})
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_parity_is_measured_in_logits(model, sessions):
    rows = [request([CLS, 7, 8, SEP], [[9, SEP], [10, 11, SEP]]), request([CLS, SEP], [[12, SEP]])]
    history, of_items, pairs = sessions
    assert 0 <= check_parity_of_two(model, history, of_items, rows, 0) < 1e-4
    assert 0 <= check_parity(model, pairs, rows, 0) < 1e-4
    with pytest.raises(ExportError, match="differ from PyTorch's"):
        check_parity_of_two(build(num_labels=2, layer_norm_eps=0.5), history, of_items, rows, 0)


def test_a_model_of_one_layer_works_too(tmp_path):
    model = build(layers=1)
    write_graphs(model, LIMITS, tmp_path / "history.onnx", tmp_path / "items.onnx")
    with (
        opened_session(tmp_path / "history.onnx", GRAPHS["history"]) as history,
        opened_session(tmp_path / "items.onnx", GRAPHS["items"]) as of_items,
    ):
        rows = [request([CLS, 7, 8, SEP], [[9, SEP], [10, 11, SEP]])]
        assert check_parity_of_two(model, history, of_items, rows, 0) < 1e-4


def test_large_scores_do_not_overflow(tmp_path):
    model = build()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "query.weight" in name:
                parameter.mul_(60)
    write_graphs(model, LIMITS, tmp_path / "history.onnx", tmp_path / "items.onnx")
    with (
        opened_session(tmp_path / "history.onnx", GRAPHS["history"]) as history,
        opened_session(tmp_path / "items.onnx", GRAPHS["items"]) as of_items,
    ):
        row = request([CLS, 7, 8, 30, SEP], [[9, SEP], [10, 11, 12, 13, SEP]])
        scores = engine((history, of_items, None)).score([row])[0]
    np.testing.assert_allclose(scores, on_pairs(model, row), rtol=0, atol=1e-3)


def test_the_last_layer_is_for_the_readout_row_and_the_products_are_as_many_as_said(folder):
    for role, wanted in products_per_graph(3).items():
        graph = onnx.load(folder / f"{role}.onnx").graph
        constants = {weight.name for weight in graph.initializer}
        products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in constants]
        assert len(products) == wanted
    by_name = {node.name: node for node in graph.node}
    assert by_name["layer_2_query_product"].input[0] == "readout_rows"
    of_history = {"keys", "values"}
    for node in graph.node:  # in the order of computing
        if of_history & set(node.input) and node.op_type != "MatMul":
            of_history |= set(node.output)
            assert node.op_type not in ("Expand", "Tile"), f"{node.name} repeats the history for every item"
    assert any(of_history & set(node.input) and node.op_type == "MatMul" for node in graph.node)


def test_queries_keys_and_values_are_multiplied_where_they_lie(folder, tmp_path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(folder / "items.onnx", options, providers=["CPUExecutionProvider"])
    moves = [node.name for node in onnx.load(tmp_path / "optimized.onnx").graph.node if node.op_type == "Transpose"]
    assert "layer_0_context_by_token" in moves
    assert not [name for name in moves if name.endswith(("_queries", "_own_keys", "_own_values"))]
