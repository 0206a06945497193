"""Tables of the race, for the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cited import Results, table

EPYC, _XEON, _AVX2 = "epyc-25-17-vnni", "xeon-6-106-vnni", "epyc-23-1-avx2"
EAGER, EAGER_BF16 = "PyTorch fp32", "PyTorch bf16"
_ST_INT8, OPENVINO = "sentence-transformers onnx int8", "sentence-transformers openvino int8"
CROSS, SHARED, _SEEN = "onyxrank cross, tuned", "onyxrank shared-history, tuned", "… history seen before"
_SHARED_FP32 = "shared-history fp32"
_NAMES = {
    "PyTorch, one by one": "PyTorch, one by one",
    "onnxruntime, one batch": "onnxruntime, the list as one batch",
    "sentence-transformers torch fp32": "sentence-transformers, PyTorch fp32",
    "sentence-transformers onnx": "sentence-transformers, ONNX fp32",
    "FlashRank": "FlashRank",
    EAGER: "eager PyTorch fp32, sorted batches",
    "fastembed": "fastembed",
    "optimum onnxruntime": "optimum on onnxruntime, fp32",
    "torch.compile fp32": "PyTorch compiled, fp32",
    "infinity optimum": "infinity, optimum",
    EAGER_BF16: "eager PyTorch bf16, sorted batches",
    "sentence-transformers torch bf16": "sentence-transformers, PyTorch bf16",
    "torch.compile bf16": "PyTorch compiled, bf16",
    _ST_INT8: "sentence-transformers, ONNX int8",
    "sentence-transformers openvino": "sentence-transformers, OpenVINO, its own choice of precision",
    OPENVINO: "sentence-transformers, OpenVINO int8",
    CROSS: "onyxrank cross, tuned",
    _SHARED_FP32: "onyxrank shared-history, fp32, default settings",
    SHARED: "onyxrank shared-history, tuned",
    _SEEN: "… its history seen before",
}
_HEADS = {
    "page": "page: 100 items, history of 192",
    "widget": "widget: 10 items, 64",
    "search": "search: 50 items, query of 8",
    "bulk": "bulk: 1,000 items, history of 192",
}

Peers = Mapping[str, Any]


def peers_of(race: Mapping[str, Any]) -> Peers:
    """Return the results of a race's peers by name."""
    return {peer["name"]: peer["results"] for peer in race["peers"]}


def ms(peers: Peers, name: str, workload: str) -> str:
    """Write the median milliseconds of a peer; nothing where it was not measured."""
    result = peers[name].get(workload, {})
    return f"{result['p50_ms']:,.0f}" if "p50_ms" in result else ""


def times(peers: Peers, other: str, ours: str, workload: str) -> str:
    """Write how many times as fast as another peer one is, by their medians."""
    ratio = peers[other][workload]["p50_ms"] / peers[ours][workload]["p50_ms"]
    return f"{ratio:.1f}" if ratio >= 1.2 else f"{ratio:.2f}"


def _race(race: dict[str, Any], names: dict[str, str] | None = None, but: Sequence[str] = ()) -> str:
    """Write the medians of a race's workloads, with the slowest first."""
    peers, workloads = peers_of(race), [name for name in _HEADS if name in race["workloads"] and name not in but]
    order = sorted(
        (name for name in (names or _NAMES) if name in peers and workloads[0] in peers[name]),
        key=lambda name: -peers[name][workloads[0]]["p50_ms"],
    )
    rows = [[(names or _NAMES)[name], *(ms(peers, name, workload) for workload in workloads)] for name in order]
    return table(["ms, median", *(_HEADS[name] for name in workloads)], rows)


def race_short(results: Results) -> str:
    """Tell the race in README: of the peers only those that most people know."""
    names = {
        EAGER: "eager PyTorch fp32, sorted batches",
        EAGER_BF16: "eager PyTorch bf16, sorted batches",
        _ST_INT8: "sentence-transformers, ONNX int8",
        OPENVINO: "sentence-transformers, OpenVINO int8: the fastest peer",
        CROSS: "onyxrank cross, the peers' function, int8 (the gate refused it)",
        _SHARED_FP32: "onyxrank shared-history, fp32, not tuned",
        SHARED: "**onyxrank shared-history, int8**",
    }
    return _race(results.current(f"{EPYC}/race.json"), names, but=["search"])


def race(results: Results) -> str:
    """Tell all ways of the current race."""
    return _race(results.current(f"{EPYC}/race.json"))


def _ratios(race: dict[str, Any], best: str = OPENVINO) -> str:
    """Write how many times as fast as eager PyTorch and the fastest peer both architectures are."""
    peers = peers_of(race)
    others = [each for each in (EAGER, EAGER_BF16, best) if each in peers]
    rows = [
        [name, workload, *(times(peers, other, ours, workload) for other in others)]
        for name, ours in (("shared-history, tuned", SHARED), ("cross, tuned", CROSS))
        for workload in race["workloads"]
        if workload in peers[ours]
    ]
    return table(["times as fast as", "", *(_NAMES[other] for other in others)], rows, left=2)


def race_ratios(results: Results) -> str:
    """Tell the ratios of the current race."""
    return _ratios(results.current(f"{EPYC}/race.json"))


def race_busy(results: Results) -> str:
    """Tell what eight callers at once got."""
    peers = peers_of(results.current(f"{EPYC}/race.json"))
    rows = []
    for name in (_ST_INT8, CROSS, SHARED):
        busy = peers[name]["busy"]
        longest = (busy[kind]["max_ms"] / peers[name][kind]["p50_ms"] for kind in ("widget", "page"))
        rows.append(
            [
                _NAMES[name],
                f"{busy['items_per_s']:.0f}",
                f"{busy['widget']['p50_ms']:,.0f}",
                *(f"{each:.1f}" for each in longest),
            ]
        )
    return table(["", "items a second", "widget, ms", "widget, longest over alone", "page, longest over alone"], rows)


def bert_base(results: Results) -> str:
    """Tell what BERT-base's shape takes beside the fastest peer."""
    return _race(results.current(f"{EPYC}/race-bert-base-int8.json"))


def earlier_races(results: Results) -> str:
    """Tell the races of earlier states, each with its machine."""
    parts = []
    for title, file in (
        ("Intel Xeon with VNNI", f"{_XEON}/race.json"),
        ("AMD EPYC without VNNI (AVX2)", f"{_AVX2}/race.json"),
        ("AMD EPYC with VNNI, with lists of a thousand", f"{EPYC}/race-bulk.json"),
        ("AMD EPYC with VNNI, BERT-base's shape", f"{EPYC}/race-bert-base.json"),
        ("Intel Xeon with VNNI, BERT-base's shape", f"{_XEON}/race-bert-base.json"),
    ):
        content = results.earlier(file)
        parts += [f"### {title}", "", f"`{file}`, measured {content['record']['date'][:10]}:", "", _race(content), ""]
    return "\n".join(parts).rstrip()
