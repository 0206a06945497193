from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from onyxrank import Cuts
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import PAIR, Cross, pair_feeds
from onyxrank.architectures.readout import Readout, margins_of
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank_export.conversion.cross_graph import can_write, write_cross_graph
from onyxrank_export.conversion.kernels import constant_products
from onyxrank_export.conversion.parity import eager_logits
from onyxrank_export.conversion.sessions import opened_session

TINY = {"vocab_size": 60, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
SEP = 3
tokens = st.integers(5, 59)
histories = st.lists(tokens, max_size=10).map(lambda ids: [2, *ids, SEP])
items = st.lists(st.lists(tokens, min_size=1, max_size=6).map(lambda ids: [*ids, SEP]), min_size=1, max_size=7)


@pytest.fixture
def plain(trained_bundle):
    return trained_bundle / "onnx" / "model.onnx"


def test_logits_are_the_plain_graphs_padded_and_alone(plain, tmp_path, trained_model, feeds, run_graph):
    write_cross_graph(trained_model, tmp_path / "written.onnx")
    for ours, theirs in zip(run_graph(tmp_path / "written.onnx", feeds), run_graph(plain, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def build(layers, classes):
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**TINY, num_hidden_layers=layers, num_labels=classes)).eval()
    for parameter in model.parameters():  # at their first values, gains are 1 and biases 0: nothing would be missed
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def model():
    return build(2, 2)


@pytest.fixture(scope="module")
def session(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "written.onnx"
    write_cross_graph(model, path)
    with opened_session(path, PAIR) as session:
        yield session


def request(history, candidates):
    return EncodedRequest(np.array(history, np.int32), Ragged.of(candidates), Cuts())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(histories, items), min_size=1, max_size=3), st.integers(1, 60))
def test_the_engine_gives_pytorchs_scores_for_any_list_and_split(model, session, lists, budget):
    engine = Cross({"model": session}, "softmax", BatchLimits(micro_batch_tokens=budget))
    requests = [request(history, candidates) for history, candidates in lists]
    for row, scores in zip(requests, engine.score(requests), strict=True):
        count = len(row.items)
        logits = eager_logits(model, pair_feeds(Call([row]), np.arange(count), 0))
        expected = Readout().probabilities(margins_of(logits, "softmax", count))
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
        # The order is PyTorch's, but for scores nearer to each other than that.
        assert (np.diff(expected[np.argsort(-scores, kind="stable")]) <= 2e-5).all()


@settings(max_examples=40, deadline=None)
@given(histories, items)
def test_a_score_does_not_depend_on_the_neighbours(session, history, candidates):
    engine = Cross({"model": session}, "softmax", BatchLimits())
    together = engine.score([request(history, candidates)])[0]
    alone = [engine.score([request(history, [item])])[0][0] for item in candidates]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layers", "classes"), [(1, 1), (3, 2)])
def test_any_number_of_layers_and_classes(tmp_path, run_graph, layers, classes):
    model = build(layers, classes)
    assert can_write(model)
    write_cross_graph(model, tmp_path / "written.onnx")
    graph = onnx.load(tmp_path / "written.onnx").graph
    assert len(list(constant_products(graph))) == 6 * layers
    dice = np.random.default_rng(0)
    lengths = np.array([9, 4, 7])
    mask = (np.arange(9) < lengths[:, None]).astype(np.int64)
    feeds = {
        "input_ids": dice.integers(0, 60, (3, 9)) * mask,
        "attention_mask": mask,
        "token_type_ids": (np.arange(9) > 2).astype(np.int64) * mask,
    }
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(values) for name, values in feeds.items()}).logits.numpy()
    [logits] = run_graph(tmp_path / "written.onnx", [feeds])
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_the_graph_for_gpus_is_told_the_lengths_and_says_the_same(tmp_path, trained_model, feeds, run_graph):
    on_cpus, for_gpus = tmp_path / "cpus.onnx", tmp_path / "gpus.onnx"
    write_cross_graph(trained_model, on_cpus)
    write_cross_graph(trained_model, for_gpus, for_gpus=True)
    for ours, theirs in zip(run_graph(for_gpus, feeds), run_graph(on_cpus, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    inputs = {
        path: [node.input for node in onnx.load(path).graph.node if node.op_type == "MultiHeadAttention"]
        for path in (on_cpus, for_gpus)
    }
    # A mask would take the CPU provider off its fastest kernel.
    assert {len(names) for names in inputs[on_cpus]} == {3}
    assert {names[4] for names in inputs[for_gpus]} == {"lengths"}


def test_the_last_layer_is_computed_for_one_row(tmp_path, trained_model):
    write_cross_graph(trained_model, tmp_path / "written.onnx")
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "written.onnx").graph.node)
    assert operators["MultiHeadAttention"] == trained_model.config.num_hidden_layers
    assert operators["SkipLayerNormalization"] == 0
    assert operators["Gather"] == 3  # words, segments, and the readout row


def test_other_models_are_left_to_fusion():
    relu = BertForSequenceClassification(BertConfig(**TINY, num_hidden_layers=1, hidden_act="relu"))
    relative = BertConfig(**TINY, num_hidden_layers=1, position_embedding_type="relative_key")
    other = RobertaForSequenceClassification(RobertaConfig(**TINY, num_hidden_layers=1))
    assert not any(map(can_write, (relu, BertForSequenceClassification(relative), other)))
