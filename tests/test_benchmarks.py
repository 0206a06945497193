"""The benchmark suite in its short form, on the tiny model: it completes and writes a report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

import onnxruntime
import pytest

from onyxrank import Item
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine.cpus import describe, has_bf16
from onyxrank.measure.requests import Pool
from weights import bundle_with_weights

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
WAYS = {"fp32", "reference_loop", "sorted_batches", *(["sorted_batches_bf16"] if has_bf16() else [])}

pytestmark = pytest.mark.slow


def python(*arguments, **environment):
    # pytest-benchmark measures nothing in a worker of the suite, and takes a child for one.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**inherited, **environment},
        cwd=BENCHMARKS.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_stamped(content, kind, command):
    """A record of this machine and this command, that names no folder above the project."""
    record = content["record"]
    assert (record["kind"], record["machine"]) == (kind, record["machine"] | describe())
    assert record["command"].startswith(command)
    assert str(BENCHMARKS.parents[1]) not in json.dumps(content)
    assert datetime.fromisoformat(record["date"]).utcoffset() == timedelta()


@pytest.fixture(scope="module")
def bundle(tiny_reference, tiny_bundle, tmp_path_factory):
    return bundle_with_weights(tiny_reference, tiny_bundle, tmp_path_factory.mktemp("benchmarks") / "bundle")


@pytest.fixture(scope="module")
def raw(bundle, tmp_path_factory):
    target = tmp_path_factory.mktemp("raw") / "raw.json"
    python(
        *("-m", "pytest", BENCHMARKS / "bench_latency.py", "--quick", "-q", "-p", "no:cacheprovider"),
        f"--benchmark-json={target}",
        ONYXRANK_BENCH_BUNDLE=str(bundle),
    )
    return target


@pytest.fixture(scope="module")
def report(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    python(BENCHMARKS / "report.py", raw, "--out", out)
    return out


def test_every_cell_holds_every_way(raw):
    cells = [benchmark["extra_info"] for benchmark in json.loads(raw.read_text())["benchmarks"]]
    assert [(cell["items"], cell["history_tokens"]) for cell in cells] == [(1, 32), (10, 32)]
    for cell in cells:
        assert {way["name"] for way in cell["ways"]} == WAYS
        assert cell["size"]["history_tokens"] == 32
        assert len({way["latency"]["repeats"] for way in cell["ways"]}) == 1


def test_the_report_has_its_three_files(report):
    assert {path.name for path in report.iterdir()} == {"latency.json", "latency.md", "latency.png"}
    assert (report / "latency.png").read_bytes().startswith(b"\x89PNG")
    compact = json.loads((report / "latency.json").read_text())
    assert compact["threads"] >= 1
    assert_stamped(compact, "latency", "python -m pytest benchmarks/bench_latency.py")
    assert set(compact["score_differences"]) == WAYS
    assert {"torch", "onnxruntime"} <= set(compact["versions"])


def test_the_page_says_what_a_reader_needs(report):
    page = (report / "latency.md").read_text()
    for expected in ("measured:", "machine:", "threads:", "bench_latency.py", "torch ", "onnxruntime ", "repeats"):
        assert expected in page
    assert "## Where (c), PyTorch in bfloat16, is faster than the engine" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert sum("onyxrank fp32" in row for row in rows) == 3  # one row per cell, and one of the settings


@pytest.mark.parametrize("crowded", [False, True])
def test_a_report_of_a_busy_machine_says_that_it_is_not_valid(raw, tmp_path, crowded):
    content = json.loads(raw.read_text())
    for benchmark in content["benchmarks"]:
        benchmark["extra_info"] |= {"crowded": crowded, "other_cpus": 1.7}
    copy = tmp_path / "raw.json"
    copy.write_text(json.dumps(content))
    python(BENCHMARKS / "report.py", copy, "--out", tmp_path)
    assert ("**Not valid.** Other processes kept up to 1.7 CPUs" in (tmp_path / "latency.md").read_text()) is crowded


def test_the_gpu_benchmark_runs_anywhere(bundle, tmp_path):
    where = ("--providers", "cpu", "tensorrt", "--device", "cpu", "--repeats", "2", "--out", tmp_path)
    python(BENCHMARKS / "gpu.py", bundle, *where)
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert_stamped(content, "gpu", "python benchmarks/gpu.py bundle --providers cpu tensorrt")
    assert [cell["name"] for cell in content["cells"]] == ["page", "widget"]
    ways = {"sorted_batches", "sorted_batches_fp16", "cross cpu fp32"}
    for cell in content["cells"]:
        assert {way["name"] for way in cell["ways"]} == ways
        differences = {way["name"]: way["largest_difference"] for way in cell["ways"]}
        assert differences["cross cpu fp32"] < 1e-5
        assert 0 < differences["sorted_batches_fp16"] < 0.05
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        assert "tensorrt" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize(("milliseconds", "cells"), [(0.001, 2), (1e6, 0)], ids=["faster", "slower"])
def test_the_page_says_where_bfloat16_is_faster(raw, tmp_path, milliseconds, cells):
    content = json.loads(raw.read_text())
    for benchmark in content["benchmarks"]:
        facts = benchmark["extra_info"]
        ways = {way["name"]: way for way in facts["ways"]}
        latency = ways["sorted_batches"]["latency"] | {"p50_ms": milliseconds}
        ways["sorted_batches_bf16"] = {**ways["sorted_batches"], "name": "sorted_batches_bf16", "latency": latency}
        facts["ways"] = list(ways.values())
    content["onyxrank"]["score_differences"]["sorted_batches_bf16"] = 0.0
    copy = tmp_path / "raw.json"
    copy.write_text(json.dumps(content))
    python(BENCHMARKS / "report.py", copy, "--out", tmp_path)
    assert f"faster than every variant of the engine in {cells} of 2 cells" in (tmp_path / "latency.md").read_text()


class FakeWay:
    settings: ClassVar = {"precision": "fp32", "rows": 1}

    def __init__(self, name):
        self.name = name
        self.seen = []

    def prepare(self, request):
        self.seen.append(len(request.items))

    def rank(self, request):
        self.seen.append(len(request.items))


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        (
            ("fp32", "int8_dynamic_avx2", "int8_static_avx2", "fp32_fused", "reference_loop"),
            {"fp32", "int8_dynamic_avx2"},
        ),
        (("fp32", "int8_dynamic_avx2", "reference_loop"), set()),
    ],
)
def test_the_largest_lists_save_time_and_say_so(tiny_bundle, monkeypatch, names, left_out):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import cells

    items = [Item("0", "camping stove", "steel and large"), Item("1", "desk lamp", "for the office")]
    pool = Pool(events=[item.title for item in items], items=items)
    ways = tuple(FakeWay(name) for name in names)
    bench = cells.Bench(open_bundle(tiny_bundle), pool, ways, 1, lambda _: None)
    cell = cells.Cell(items=1000, history_tokens=8, repeats=1, budget_s=1.0, warmup=0)
    result = cells.run_cell(cell, bench)
    by_name = {way["name"]: way for way in result["ways"]}
    assert set(by_name) == set(names) - left_out
    assert by_name["reference_loop"]["note"].startswith("x10 of 100 items")
    assert ways[-1].seen == [100, 100]
    assert ways[-2].seen == [1000, 1000]
    loop = by_name["reference_loop"]["latency"]
    assert loop["items_per_s"] == pytest.approx(1000 / loop["p50_ms"] * 1000, rel=0.01)


@pytest.mark.parametrize("content", [{}, {"benchmarks": []}, {"benchmarks": [{"extra_info": {}}]}])
def test_other_json_is_refused(tmp_path, content):
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "report.py"), str(raw), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "these are not the figures of bench_latency.py" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["raw.json"]


def test_startup(bundle, tmp_path):
    sizes = ("--repeats", 1, "--items", 20, 40, "--history", 16)
    result = json.loads(python(BENCHMARKS / "startup.py", bundle, *sizes, "--out", tmp_path))
    assert json.loads((tmp_path / "startup.json").read_text()) == result
    assert_stamped(result, "startup", "python benchmarks/startup.py bundle --repeats 1")
    assert result["variant"] == "fp32"
    assert {name: figure["target"] for name, figure in result["figures"].items()} == {
        "import_s": 0.3,
        "first_ranking_s": 1.5,
        "peak_memory_mib": 450.0,
    }
    assert list(result["peak_memory_mib_by_items"]) == ["20", "40"]
    assert all(figure["value"] > 0 for figure in result["figures"].values())
    assert result["slowest_imports_ms"]


def test_tune_is_checked_against_an_exhaustive_search(trained_bundle, tmp_path):
    python(
        *(BENCHMARKS / "tune_check.py", trained_bundle, "--budget", "1", "--sweep-budget", "4", "--rounds", "3"),
        *("--out", tmp_path),
    )
    content = json.loads((tmp_path / "tune.json").read_text())
    assert_stamped(content, "tune", "python benchmarks/tune_check.py ")
    assert len(content["chosen"]) == 2
    for each in content["chosen"]:
        assert each["times_best"] >= 1
        assert each["request_ms"] >= content["best"]["request_ms"] > 0
