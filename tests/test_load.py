"""The load run's own parts: what it checks, and its page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WANTED = {"body": {"items": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}, "scores": [0.2, 0.9, 0.5]}
RESULTS = [("b", 1, 0.9), ("c", 2, 0.5), ("a", 0, 0.2)]


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "load")
    for name in ("checking", "load_page"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def answer(rows):
    return {"results": [{"id": name, "index": index, "score": score} for name, index, score in rows]}


@pytest.mark.parametrize(
    ("rows", "own"),
    [
        (RESULTS, True),
        ([("b", 1, 0.900001), *RESULTS[1:]], True),
        ([("b", 1, 0.9002), *RESULTS[1:]], False),
        ([("a", 1, 0.9), *RESULTS[1:]], False),
        (RESULTS[:2], False),
        ([*RESULTS, RESULTS[-1]], False),
        ([RESULTS[1], RESULTS[0], RESULTS[2]], False),
    ],
    ids=["own", "rounding", "score", "id", "lost", "twice", "unsorted"],
)
def test_an_answer_is_checked_against_its_own_request(load, rows, own):
    from checking import is_own

    assert is_own(answer(rows), WANTED) is own


def test_the_page_says_everything(load, tmp_path):
    from load_page import memory_growth, write_page

    times = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}
    steady = {
        "minutes": 10,
        "connections": 64,
        "outcomes": {"page 200": 50, "widget 200": 150, "widget 429": 3},
        "items_per_second": 180.0,
        "latency_ms": {"page": times, "widget": times},
        "rss_mib": [[30, 300.0], [60, 400.0], [600, 408.0]],
    }
    figures = {
        "record": {
            "commit": "0123456789",
            "dirty": True,
            "date": "now",
            "command": "make load",
            "machine": {
                "cpu_model": "CPU",
                "cpus_usable": 2,
                "machine_family": "avx2",
                "os": "Linux",
                "python": "3.11",
            },
        },
        "bundle": {"architecture": "cross", "variant": "fp32"},
        "queue_tokens": 1000,
        "tokens_per_second": 500,
        "bare_items_per_second": [210.0, 190.0],
        "overhead": {"http_p50_ms": 3.0, "rank_p50_ms": 2.0, "difference_p50_ms": 1.0, "repeats": 9},
        "steady": steady,
        "overload": {
            "seconds": 60,
            "offered_per_second": 30.0,
            "outcomes": {"page 429": 70, "widget 200": 30},
            "latency_ms": {"widget": times},
            "health_ms": times,
            "idle_widget_ms": 2.0,
            "recovery_s": 0.5,
        },
    }
    assert memory_growth(steady["rss_mib"]) == pytest.approx(0.02)
    write_page(figures, tmp_path / "load.md")
    page = (tmp_path / "load.md").read_text()
    for said in (
        "180 items/s (90%)",
        "+2.0%",
        "2.0 s",
        "| 64 connections | 50 | 0 | 150 | 3 |",
        "| 0.5 s |",
        "commit 0123456 with changed files",
    ):
        assert said in page, said
