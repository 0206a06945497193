"""What the marks in the pages stand for: one function for each, from results to Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cited import Results, percent, table, way_ms, ways_of
from cited_quality import gate, quality_baselines, quality_compared, quality_office, quality_sets, quality_short
from cited_races import (
    CROSS,
    EAGER,
    EAGER_BF16,
    EPYC,
    OPENVINO,
    SHARED,
    bert_base,
    earlier_races,
    peers_of,
    race,
    race_busy,
    race_ratios,
    race_short,
    times,
)
from onyxrank.measure.ways import EAGER_LABELS


def architectures(results: Results) -> str:
    """Tell what one page takes by every way of `make architectures`."""
    ways = ways_of(results.current(f"{EPYC}/architectures.json")["page"])
    eager, cross = way_ms(ways["sorted_batches"]), way_ms(ways["cross fp32"])
    names = {
        "sorted_batches": "eager PyTorch fp32, sorted batches",
        "sorted_batches_bf16": "eager PyTorch bf16, sorted batches",
    }
    rows = [
        [names.get(name, name), f"{way_ms(way):,.0f}", f"{eager / way_ms(way):.1f}", f"{cross / way_ms(way):.1f}"]
        for name, way in ways.items()
    ]
    return table(["", "p50 ms", "× eager fp32", "× cross fp32"], rows)


def peak(results: Results) -> str:
    """Tell which share of the measured product peak is reached."""
    content = results.current(f"{EPYC}/architectures.json")
    graph, peaks = content["items_graph"], content["peaks_gops"]
    fp32, int8 = (graph[precision]["share_of_peak"] for precision in ("fp32", "int8"))
    products = [percent(graph[name]["operators"]["products"]) for name in ("plain", "fp32", "int8")]
    return (
        f"The items graph reaches, over its whole time, {percent(fp32['shared-history fp32'])} of the machine's "
        f"measured product peak in fp32 ({peaks['fp32']:.0f}·10⁹ operations a second) and "
        f"{percent(int8['shared-history int8'])} in int8 ({peaks['int8']:.0f}·10⁹), tuned "
        f"{percent(int8['shared-history int8, tuned'])}. Products take {products[1]} of its time in fp32, "
        f"{products[2]} in int8, and {products[0]} of the plain graph's over pairs."
    )


def by_history(results: Results) -> str:
    """Tell what int8 takes with the shortest and the longest history."""
    cells = results.current(f"{EPYC}/architectures.json")["by_history"]
    told = [
        f"at {cell['history_tokens']} tokens of history int8 cross takes {way_ms(ways['cross int8']):,.0f} ms for "
        f"{cell['items']} items and shared-history {way_ms(ways['shared-history int8']):,.0f}"
        for cell in (cells[0], cells[-1])
        for ways in [ways_of(cell)]
    ]
    return ", ".join(told)


def aims(results: Results) -> str:
    """Tell what was aimed at, and what was reached."""
    peers = peers_of(results.current(f"{EPYC}/race.json"))
    big = peers_of(results.current(f"{EPYC}/race-bert-base-int8.json"))
    content = results.current(f"{EPYC}/architectures.json")
    ways, graph = ways_of(content["page"]), content["items_graph"]["int8"]["share_of_peak"]
    page, widget = (ways_of(results.current(f"{EPYC}/bench-{kind}.json"))["tuned"] for kind in ("page", "widget"))
    start, choice = (results.current(f"{EPYC}/{name}.json") for name in ("startup", "tune"))
    busy = peers[SHARED]["busy"]
    longest = ", ".join(f"{busy[kind]['max_ms'] / peers[SHARED][kind]['p50_ms']:.1f}" for kind in ("widget", "page"))
    fastest = ", ".join(times(peers, other, SHARED, "page") for other in (EAGER, EAGER_BF16, OPENVINO))
    best = way_ms(ways["shared-history int8, tuned"])
    return table(
        ["", "aimed at", "reached", "file"],
        [
            [
                "page, shared-history, tuned, × eager fp32, × bf16, × the fastest peer",
                "20, 6, 4",
                fastest,
                "`race.json`",
            ],
            ["page, cross × the fastest peer", "1.15", times(peers, OPENVINO, CROSS, "page"), "`race.json`"],
            [
                "page, shared-history × cross, both fp32; tuned × eager fp32",
                "3; 10",
                f"{way_ms(ways['cross fp32']) / way_ms(ways['shared-history fp32']):.1f}; "
                f"{way_ms(ways['sorted_batches']) / best:.1f}",
                "`architectures.json`",
            ],
            [
                "page in BERT-base's shape, shared-history and cross × the fastest peer",
                "4; 1.15",
                "; ".join(times(big, OPENVINO, ours, "page") for ours in (SHARED, CROSS)),
                "`race-bert-base-int8.json`",
            ],
            [
                "widget, shared-history, tuned, 99th percentile over median",
                "2",
                f"{widget['latency']['p99_ms'] / way_ms(widget):.1f}",
                "`bench-widget.json`",
            ],
            ["eight callers at once, widget and page, longest over alone", "4", longest, "`race.json`"],
            [
                "items graph, int8, tuned, share of the measured product peak",
                "35 %",
                percent(graph["shared-history int8, tuned"]),
                "`architectures.json`",
            ],
            [
                "outside the sessions, page, items read the first time",
                "5 %",
                percent(page["shares"]["overhead"], 1),
                "`bench-page.json`",
            ],
            [
                "load and first ranking, tuned",
                "1.5 s",
                f"{start['figures']['first_ranking_s']['value']:.2f} s",
                "`startup.json`",
            ],
            [
                "peak memory, 1,000 items",
                "450 MiB",
                f"{start['figures']['peak_memory_mib']['value']:.0f} MiB",
                "`startup.json`",
            ],
            [
                "`tune`, times the best of an exhaustive search, twice",
                "1.05",
                ", ".join(f"{each['times_best']:.2f}" for each in choice["chosen"]),
                "`tune.json`",
            ],
        ],
        left=1,
    )


def startup(results: Results) -> str:
    """Tell what a fresh process pays."""
    content = results.current(f"{EPYC}/startup.json")
    figures, peaks = content["figures"], content["peak_memory_mib_by_items"]
    return (
        f"import {figures['import_s']['value']:.2f} s, load and first ranking "
        f"{figures['first_ranking_s']['value']:.2f} s, peak memory {peaks['1000']:.0f} MiB at 1,000 items and "
        f"{peaks['10000']:.0f} MiB at 10,000"
    )


def peak_memory(results: Results) -> str:
    """Tell the peak memory, for the page on embedding."""
    peaks = results.current(f"{EPYC}/startup.json")["peak_memory_mib_by_items"]
    return f"{peaks['1000']:.0f} MiB at its peak, with 10,000 items {peaks['10000']:.0f}"


def load(results: Results) -> str:
    """Tell what the server did under load."""
    content = results.earlier(f"{EPYC}/load.json")
    steady, bare = content["steady"], sum(content["bare_items_per_second"]) / len(content["bare_items_per_second"])
    answers = sum(count for outcome, count in steady["outcomes"].items() if outcome.endswith(" 200"))
    waited = max(times["max"] for times in steady["latency_ms"].values()) / 1000
    return (
        f"{answers:,} answers, {percent(steady['items_per_second'] / bare)} of what the bare engine reaches for the "
        f"same mix in its own process; nobody who was let in waited longer than {waited:.1f} s; over `Ranker.rank` a "
        f"request pays about {content['overhead']['difference_p50_ms']:.1f} ms ({_earlier(content)})"
    )


def gpu(results: Results) -> str:
    """Tell what a page takes on a GPU."""
    content = results.earlier("xeon-6-207-vnni-h200/gpu.json")
    ways = ways_of(content["cells"][0])
    return (
        f"on an H200 cross in fp32 took {way_ms(ways['cross cuda fp32']):.0f} ms for a page, eager PyTorch "
        f"{way_ms(ways['sorted_batches']):.0f} in fp32 and {way_ms(ways['sorted_batches_fp16']):.0f} in fp16 "
        f"({_earlier(content)})"
    )


def cross_earlier(results: Results) -> str:
    """Tell what `onyxrank bench` had for both office bundles in an earlier state."""
    rows = []
    for architecture in ("shared-history", "cross"):
        ways = ways_of(results.earlier(f"{EPYC}/bench-office-{architecture}.json"))
        eager = way_ms(ways["sorted_batches"])
        rows += [
            [architecture, EAGER_LABELS.get(name, name), f"{way_ms(way):,.0f}", f"{eager / way_ms(way):.1f}"]
            for name, way in ways.items()
        ]
    return table(["bundle", "way", "p50 ms", "× eager PyTorch fp32, sorted batches"], rows, left=2)


def _earlier(content: Mapping[str, Any]) -> str:
    return f"measured {content['record']['date'][:10]}, of an earlier state of the code"


_FUNCTIONS: tuple[Callable[[Results], str], ...] = (
    *(race_short, race, race_ratios, race_busy, bert_base, earlier_races),
    *(quality_short, quality_office, quality_compared, quality_sets, quality_baselines, gate),
    *(architectures, peak, by_history, aims, startup, peak_memory, load, gpu, cross_earlier),
)
BLOCKS = {function.__name__.replace("_", "-"): function for function in _FUNCTIONS}
"""The functions by the name in the mark."""
