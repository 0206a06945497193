from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from aisles import items_table
from onyxrank import InvalidInput, Item, OnyxrankError, Ranker
from onyxrank.architectures.readout import Readout
from onyxrank.bundle.opening import open_bundle
from onyxrank.cli.app import run
from onyxrank.machine.cpus import machine_family
from onyxrank.measure.requests import Request
from onyxrank_export.conversion import quantized_variants as module
from onyxrank_export.conversion.errors import GateRefused
from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.eager import SortedBatches, load_eager

EVENTS = ["red tent", "camping stove"]
ITEMS = [Item(str(number), title, "") for number, title in enumerate(["large red tent", "desk lamp", "dog leash"])]


@pytest.fixture(scope="module")
def ranker(shared_bundle):
    with Ranker.load(shared_bundle, variant="fp32") as ranker:
        yield ranker


def test_the_bundle_holds_three_graphs_and_says_what_they_are(shared_bundle):
    manifest = open_bundle(shared_bundle).manifest
    assert manifest.architecture == "shared-history"
    assert {"onnx/model.onnx", "onnx/history.onnx", "onnx/items.onnx"} <= manifest.files.keys()
    assert {name: value < 1e-4 for name, value in manifest.parity["max_logit_difference"].items()} == {
        "fp32": True,
        "model.onnx": True,
    }
    for variant in manifest.variants:
        assert variant.files.keys() == {"history", "items"}
        assert variant.batch_invariant == (variant.precision != "int8_dynamic")


def test_both_graphs_of_every_int8_variant_are_int8(shared_bundle):
    int8 = [variant for variant in open_bundle(shared_bundle).manifest.variants if variant.precision != "fp32"]
    assert len(int8) == 4
    for variant in int8:
        for path in variant.files.values():
            weights = onnx.load(shared_bundle / path).graph.initializer
            assert sum(weight.data_type == onnx.TensorProto.INT8 for weight in weights) >= 5


@pytest.mark.parametrize("role", ["history", "items"])
def test_the_gate_judges_both_graphs_as_one(shared_run, tmp_path, monkeypatch, real_gate, role):
    """One graph rounded to nothing is enough to refuse the pair."""
    original = module.quantize

    def worse(source, target, scheme, calibration):
        original(source, target, scheme, calibration)
        if target.name.startswith(role):
            model = onnx.load(target)
            for weight in model.graph.initializer:
                values = numpy_helper.to_array(weight)
                if weight.data_type == onnx.TensorProto.INT8 and values.ndim == 2:
                    rough = (np.round(values.astype(int) / 128) * 127).astype(np.int8)
                    weight.CopyFrom(numpy_helper.from_array(rough, weight.name))
            onnx.save(model, target)

    monkeypatch.setattr(module, "quantize", worse)
    with pytest.raises(GateRefused, match="int8_static_avx512_vnni"):
        export_bundle(shared_run, tmp_path / "bundle", ExportConfig(precisions=("int8_static",)), say=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_the_engine_gives_pytorchs_scores(shared_bundle, ranker):
    eager = SortedBatches(load_eager(shared_bundle))
    request = Request(tuple(EVENTS), tuple(ITEMS))
    margins = {hit.index: hit.margin for hit in ranker.rank(EVENTS, ITEMS)}
    ours = Readout().probabilities(np.array([margins[index] for index in range(len(ITEMS))], np.float32))
    np.testing.assert_allclose(ours, eager.score(request), rtol=0, atol=1e-5)


def test_a_second_request_of_a_shopper_takes_no_history_time(shared_bundle):
    with Ranker.load(shared_bundle) as ranker:
        first, second = ranker.rank(EVENTS, ITEMS), ranker.rank(EVENTS, ITEMS[:2])
        cache = ranker.info()["history_cache"]
    assert first.timings.history > 0
    assert second.timings.history == 0
    assert (cache["hits"], cache["misses"], cache["entries"]) == (1, 1, 1)
    with Ranker.load(shared_bundle, history_cache_bytes=0) as ranker:
        rankings = [ranker.rank(EVENTS, ITEMS) for _ in range(2)]
        assert ranker.info()["history_cache"]["entries"] == 0
    assert all(ranking.timings.history > 0 for ranking in rankings)
    assert rankings[0] == rankings[1] == first


def test_a_prepared_history_ranks_many_lists(ranker):
    prepared = ranker.prepare(EVENTS)
    assert prepared.rank(ITEMS) == ranker.rank(EVENTS, ITEMS)
    assert prepared.rank(ITEMS, top_k=1) == ranker.rank(EVENTS, ITEMS, top_k=1)
    assert prepared.rank(ITEMS).timings.history == 0
    np.testing.assert_array_equal(prepared.score(ITEMS[1:]), ranker.score(EVENTS, ITEMS[1:]))
    assert prepared.rank([]).total == 0
    with pytest.raises(InvalidInput, match=r"items\[0\]"):
        prepared.rank([""])
    with pytest.raises(InvalidInput, match="history"):
        ranker.prepare(7)


def test_a_prepared_history_ends_with_its_ranker(shared_bundle):
    with Ranker.load(shared_bundle) as ranker:
        prepared = ranker.prepare(EVENTS)
    with pytest.raises(OnyxrankError, match="closed"):
        prepared.rank(ITEMS)


def test_cross_prepares_a_history_too(trained_bundle):
    with Ranker.load(trained_bundle, variant="fp32") as ranker:
        assert ranker.prepare(EVENTS).rank(ITEMS) == ranker.rank(EVENTS, ITEMS)
        assert "history_cache" not in ranker.info()


def test_a_cold_start_ranks_and_says_so(ranker):
    ranking = ranker.rank([], ITEMS)
    assert ranking.cold_start
    assert len(ranking) == len(ITEMS)
    assert ranker.prepare("").rank(ITEMS) == ranking


def test_a_long_history_keeps_the_newest(ranker):
    events = [f"old event {number}" for number in range(30)] + EVENTS
    ranking = ranker.rank(events, ITEMS)
    assert ranking.cuts.history_events == ranker.prepare(events).rank(ITEMS).cuts.history_events > 0
    newest = events[ranking.cuts.history_events :]
    assert ranker.rank(newest, ITEMS).hits == ranking.hits


def test_rank_many_equals_one_at_a_time(ranker):
    requests = [(EVENTS, ITEMS), ([], ITEMS[:1]), (EVENTS[:1], []), (EVENTS, ITEMS[::-1])]
    assert ranker.rank_many(requests) == [ranker.rank(history, items) for history, items in requests]


def test_32_threads_and_1000_requests_mix_no_histories(shared_bundle):
    titles = items_table()["item_title"].to_list()[:40]
    histories = [[title, "camping stove"] for title in titles]
    shoppers = (np.random.default_rng(0).geometric(0.12, 1000) % 40).tolist()
    with Ranker.load(shared_bundle, variant="fp32", threads=1, sessions=2, history_cache_bytes=2**18) as ranker:
        alone = [ranker.score(history, ITEMS) for history in histories]
        prepared = [ranker.prepare(history) for history in histories[:4]]
        apart = np.abs(np.stack(alone)[:, None] - np.stack(alone)[None]).max(axis=2)
        assert (apart > 1e-4).sum() > 0.9 * 40 * 39  # or mixing them would not show
        before = ranker.info()["history_cache"]

        def use(number):
            shopper = shoppers[number]
            if shopper < len(prepared) and number % 3 == 0:
                return prepared[shopper].score(ITEMS)
            return ranker.score(histories[shopper], ITEMS)

        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(use, range(1000)))
        cache = ranker.info()["history_cache"]
    for shopper, scores in zip(shoppers, answers, strict=True):
        np.testing.assert_allclose(scores, alone[shopper], rtol=0, atol=1e-6)
    assert cache["bytes"] <= 2**18
    assert cache["hits"] - before["hits"] > 200
    assert cache["misses"] - before["misses"] > 50  # so that histories went, too


def test_the_command_line_inspects_and_ranks_it(shared_bundle, tmp_path, capsys):
    assert run(["inspect", str(shared_bundle)]) == 0
    shown = capsys.readouterr().out
    assert "shared-history" in shown
    assert f"kernels: {machine_family()}" in shown
    items = tmp_path / "items.jsonl"
    items.write_text('{"id": "a", "title": "large red tent"}\n{"id": "b", "title": "desk lamp"}\n')
    assert run(["rank", str(shared_bundle), "--history", "red tent", "--items", str(items), "--json"]) == 0
    assert '"item_id"' in capsys.readouterr().out
