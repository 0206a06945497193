from __future__ import annotations

import json
import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from onyxrank import InvalidInput, Item
from onyxrank.bundle.opening import open_bundle
from onyxrank.measure import bench, engine_ways, loaded_ways
from onyxrank.measure.bench import Entrant, bench_bundle, measure_ways
from onyxrank.measure.engine_ways import machine_variants
from onyxrank.measure.report import Shares
from onyxrank.measure.requests import Request, Workload
from onyxrank.request.timings import Timings

WORKLOAD = Workload(name="small", history_tokens=16, items=5, item_tokens=8)


class FakeWay:
    """Answers without a model."""

    def __init__(self, name, shift=0.0):
        self.name = name
        self.settings = {"precision": "fp32"}
        self.shift = shift
        self.log = []

    def prepare(self, request):
        self.log.append("prepare")

    def rank(self, request):
        self.log.append("rank")

    def score(self, request):
        self.log.append("score")
        return np.full(len(request.items), 0.25 + self.shift, dtype=np.float32)

    def close(self):
        self.log.append("close")


def test_the_engine_alone(tiny_bundle):
    report = bench_bundle(tiny_bundle, workload=WORKLOAD, repeats=3)
    [way] = report.ways
    assert way.name == "fp32"
    assert way.latency.repeats == 3
    assert way.speedup is None
    assert way.score_difference == 0.0
    assert way.settings["threads"] == report.settings["threads"]
    assert way.throughput.callers == max(2, report.settings["threads"])
    assert way.throughput.requests >= way.throughput.callers
    assert 0 < way.shares.run < 1
    stages = way.shares.tokenize + way.shares.queue + way.shares.batch + way.shares.run + way.shares.rank
    assert way.shares.overhead == pytest.approx(1 - way.shares.run)
    assert 0.5 < stages <= 1.0
    assert report.size.history_tokens == 16
    assert "torch" not in report.versions
    assert {"onnxruntime", "numpy", "tokenizers"} <= set(report.versions)
    assert report.to_json() == json.loads(json.dumps(report.to_json(), allow_nan=False))


def test_eager_ways_are_measured_beside_it(tiny_bundle):
    ways = [FakeWay("reference_loop"), FakeWay("sorted_batches", shift=0.5)]
    said, asked = [], []

    def eager(folder, threads, say):
        asked.append((folder, threads))
        yield from ways

    report = bench_bundle(tiny_bundle, workload=WORKLOAD, repeats=2, threads=1, eager=eager, say=said.append)
    assert asked == [(tiny_bundle, 1)]
    assert [way.name for way in report.ways] == ["fp32", "reference_loop", "sorted_batches"]
    engine, loop, batches = report.ways
    assert batches.speedup == 1.0
    assert engine.speedup == pytest.approx(batches.latency.p50_ms / engine.latency.p50_ms)
    assert loop.shares is None
    assert batches.score_difference != loop.score_difference
    assert ways[0].log == ["prepare", "score", "rank", "rank", "rank", "close"]
    assert any(line.startswith("measuring 3 ways") for line in said)


def test_bundles_of_one_architecture_are_told_apart_by_their_folders(tiny_bundle, tmp_path):
    older, newer, same = tmp_path / "older", tmp_path / "newer", tmp_path / "more" / "older"
    for folder in (older, newer, same):
        shutil.copytree(tiny_bundle, folder)
    report = bench_bundle(older, workload=WORKLOAD, repeats=1, beside=[newer])
    assert [way.name for way in report.ways] == ["older fp32", "newer fp32"]
    assert [way.settings["bundle"] for way in report.ways] == ["older", "newer"]
    assert [way.score_difference for way in report.ways] == [0.0, 0.0]
    with pytest.raises(InvalidInput, match="folders of different names"):
        bench_bundle(older, workload=WORKLOAD, repeats=1, beside=[same])


def test_ways_are_closed_when_one_fails(tiny_bundle):
    way = FakeWay("reference_loop")

    def eager(folder, threads, say):
        yield way
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        bench_bundle(tiny_bundle, workload=WORKLOAD, repeats=1, eager=eager)
    assert way.log[-1] == "close"


@pytest.mark.parametrize(("variants", "message"), [((), "at least one"), (("int4",), "no variant 'int4'")])
def test_variants_are_checked(tiny_bundle, variants, message):
    with pytest.raises(InvalidInput, match=message):
        bench_bundle(tiny_bundle, workload=WORKLOAD, variants=variants)


@pytest.mark.parametrize("busy", [False, True])
def test_a_busy_machine_is_said(tiny_bundle, monkeypatch, busy):
    monkeypatch.setattr(bench, "other_cpus", lambda before, after: 1e6 if busy else 0.0)
    said = []
    report = bench_bundle(tiny_bundle, workload=WORKLOAD, repeats=1, say=said.append)
    assert report.crowded is busy
    assert report.to_json()["crowded"] is busy
    assert any("compare nothing" in line for line in said) is busy


def test_no_speed_up_is_told_of_what_ran_on_another_device():
    ways = [FakeWay(name) for name in (bench.EAGER_REFERENCE, "on a card", "on the CPU")]
    ways[1].settings = ways[1].settings | {"provider": "cuda"}
    ways[2].settings = ways[2].settings | {"provider": "openvino"}
    request = Request(("tent",), (Item("a", "stove"),))
    reports = measure_ways([Entrant(way, request) for way in ways], repeats=2, budget_s=9.0)
    assert [report.speedup is None for report in reports] == [False, True, False]


def test_where_nothing_is_fp32_nothing_is_told_to_be_off_it():
    way = FakeWay("quantized")
    way.settings = {"precision": "int8_static"}
    request = Request(("tent",), (Item("a", "stove"),))
    with ExitStack() as closing:
        [alone] = loaded_ways.load_ways([way], request, closing, print)
        beside = loaded_ways.load_ways([way, FakeWay("exact", shift=0.25)], request, closing, print)
    assert alone.score_difference is None
    assert [row.score_difference for row in beside] == [0.25, 0.0]


def test_variants_are_those_for_the_provider(trained_bundle, monkeypatch):
    opened = open_bundle(trained_bundle)
    on_cpu = machine_variants(opened, "auto")
    monkeypatch.setattr(
        engine_ways, "offered_providers", lambda asked: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    on_card = machine_variants(opened, "auto")
    assert any(name.startswith("int8") for name in on_cpu)
    assert on_card == tuple(name for name in on_cpu if not name.startswith("int8"))
    assert machine_variants(opened, "cpu") == on_cpu


def test_two_ways_of_one_name_are_refused():
    request = Request(("a",), ())
    with pytest.raises(InvalidInput, match="same name"):
        measure_ways([Entrant(FakeWay("a"), request)] * 2, repeats=1, budget_s=1)


def test_an_entrant_may_stand_for_several_requests(tiny_bundle):
    request = Request(("a",), (None,) * 10)
    loop = Entrant(FakeWay("reference_loop"), request, times=10, note="x10")
    [report] = measure_ways([loop], repeats=1, budget_s=1)
    assert report.note == "x10"
    assert report.latency.items_per_s == pytest.approx(100 / report.latency.p50_ms * 1000)


def test_shares_are_of_wall_time():
    timings = [Timings(tokenize=0.1, queue=0.1, history=0.2, batch=0.1, run=0.4, rank=0.1), Timings(run=0.6)]
    shares = Shares.of(timings, seconds=2.0).to_json()
    assert shares.pop("overhead") == 0.4
    assert shares == {"tokenize": 0.05, "queue": 0.05, "history": 0.1, "batch": 0.05, "run": 0.5, "rank": 0.05}
