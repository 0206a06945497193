from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from onyxrank import BundleError, Limits, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.measure.bench import bench_bundle
from onyxrank.measure.requests import Request, Workload, make_request
from onyxrank_export import eager
from onyxrank_export.eager import best_micro_batch, eager_ways, join_history, load_eager
from onyxrank_export.training.run import RunError
from weights import bundle_with_weights, save_model

LIMITS = Limits(history_tokens=64, item_tokens=32)
NAMES = ["reference_loop", "sorted_batches", "sorted_batches_bf16"]


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch):
    """All ways on every machine."""
    monkeypatch.setattr(eager, "has_bf16", lambda: True)


@pytest.fixture(scope="module")
def bundle(tiny_reference, tiny_bundle, tmp_path_factory):
    return bundle_with_weights(tiny_reference, tiny_bundle, tmp_path_factory.mktemp("eager") / "bundle")


@pytest.fixture(scope="module")
def run(tiny_reference, tmp_path_factory):
    folder = save_model(tiny_reference, tmp_path_factory.mktemp("eager") / "run")
    limits = {"history_tokens": LIMITS.history_tokens, "item_tokens": LIMITS.item_tokens}
    content = {
        "schema_version": 1,
        "finished": True,
        "config": {"arch": "cross", "limits": limits},
        "data": {"path": "none", "fingerprint": "0"},
    }
    (folder / "run.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def request_(bundle):
    return make_request(open_bundle(bundle), Workload(name="w", history_tokens=30, items=11, item_tokens=20), seed=3)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ragged(request_):
    """The same request with items of different lengths, so that there is something to sort and to pad."""
    items = tuple(
        type(item)(item.id, " ".join(item.title.split()[: 1 + 2 * number]), "for the desk" if number % 2 else "")
        for number, item in enumerate(request_.items)
    )
    return Request(("steel tent pegs", "camping stove", "red lamp"), items)


def engine_scores(bundle, request):
    with Ranker.load(bundle, variant="fp32", threads=1) as ranker:
        return ranker.score(request.history, request.items)


@pytest.mark.parametrize("folder", ["bundle", "run"])
def test_all_ways_give_the_engines_scores(folder, bundle, request, ragged):
    expected = engine_scores(bundle, ragged)
    ways = list(eager_ways(request.getfixturevalue(folder), threads=1))
    assert [way.name for way in ways] == NAMES
    for way in ways:
        way.prepare(ragged)
        tolerance = 3e-2 if way.settings["precision"] == "bf16" else 1e-4
        np.testing.assert_allclose(way.score(ragged), expected, atol=tolerance)
        ranked = way.rank(ragged)
        assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
        assert sorted(index for index, _ in ranked) == list(range(11))
        way.close()


def test_bf16_is_left_out_where_the_cpu_would_emulate_it(bundle, monkeypatch):
    monkeypatch.setattr(eager, "has_bf16", lambda: False)
    said = []
    assert [way.name for way in eager_ways(bundle, threads=1, say=said.append)] == NAMES[:2]
    assert any("no bf16" in line for line in said)


def test_the_loop_reads_the_engines_token_ids(bundle, ragged):
    model = load_eager(bundle)
    encoded = model.encoder.encode(ragged.history, ragged.items)
    for item, ids in zip(ragged.items, encoded.items, strict=True):
        pair = model.tokenizer(join_history(ragged.history), f"{item.title} {item.description}")
        assert pair["input_ids"] == [*encoded.history, *ids]


def test_the_loop_is_padded_to_the_limits(bundle, request_):
    way = next(eager_ways(bundle, threads=1))
    assert way.settings["padding"] == f"to {LIMITS.sequence_tokens} tokens"
    assert way.settings["rows"] == 1


def test_a_batch_size_is_searched_once_for_a_request(bundle, request_):
    said = []
    _, batches, _ = eager_ways(bundle, threads=1, say=said.append)
    batches.prepare(request_)
    rows = batches.settings["rows"]
    assert rows in (4, 8, 11)
    assert len(said) == 1
    batches.prepare(Request(request_.history, request_.items))
    assert len(said) == 1
    batches.prepare(request_.first(2))
    assert batches.settings["rows"] == 2
    assert len(said) == 2


@pytest.mark.parametrize(
    ("seconds", "items", "best", "tried"),
    [
        pytest.param({4: 3, 8: 1, 16: 2, 32: 5, 64: 6, 100: 7}, 100, 8, [4, 8, 16, 32, 64, 100], id="middle"),
        pytest.param({4: 3, 8: 2, 16: 2, 20: 1}, 20, 20, [4, 8, 16, 20], id="all-at-once"),
        pytest.param({1: 1}, 1, 1, [1], id="one-item"),
        pytest.param({4: 1}, 4, 4, [4], id="no-size-twice"),
    ],
)
def test_the_fastest_batch_size_is_taken(seconds, items, best, tried):
    now = 0.0

    def run(size):
        nonlocal now
        now += seconds[size]

    found, measured = best_micro_batch(run, items, clock=lambda: now)
    assert found == best
    assert list(measured) == tried


def test_torch_runs_on_the_threads_asked_for(bundle):
    assert next(eager_ways(bundle, threads=1)).settings["threads"] == 1
    assert torch.get_num_threads() == 1


def test_a_bundle_without_weights_says_so(tiny_bundle):
    with pytest.raises(BundleError, match=r"no model\.safetensors"):
        load_eager(tiny_bundle)


def test_a_folder_that_is_neither_says_so(tmp_path):
    with pytest.raises(RunError, match="not a run or model folder"):
        load_eager(tmp_path)


def test_it_serves_as_the_eager_side_of_a_benchmark(bundle):
    workload = Workload(name="w", history_tokens=20, items=6, item_tokens=10)
    report = bench_bundle(bundle, workload=workload, repeats=2, threads=1, eager=eager_ways)
    assert [way.name for way in report.ways] == ["fp32", *NAMES]
    by_name = {way.name: way for way in report.ways}
    assert by_name["reference_loop"].score_difference < 1e-4
    assert by_name["sorted_batches"].score_difference < 1e-4
    assert by_name["sorted_batches_bf16"].score_difference < 3e-2
    assert by_name["sorted_batches"].speedup == 1.0
    assert all(way.speedup > 0 for way in report.ways)
    assert {"torch", "transformers"} <= set(report.versions)
    json.dumps(report.to_json(), allow_nan=False)
