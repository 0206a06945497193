"""The race as a page of Markdown and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from provenance import machine_name, origin

_REFERENCE = "PyTorch fp32"
_OURS = ("onyxrank", "…", "shared-history")
_WRONG = {
    **dict.fromkeys(("fp32", "float32"), 1e-3),
    **dict.fromkeys(("bf16", "bfloat16", "openvino's"), 0.05),
    "int8": 0.3,
}
"""How far a probability may be from fp32's before it is marked, by what a peer says its precision is: rounding stays
below, a wrong input does not. OpenVINO chooses bf16 or fp32 itself; a peer that says nothing is taken for fp32."""


def write_page(content: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write the page and the plot of that name."""
    parts = [_head(content, name), *(_workload(content, name) for name in content["workloads"]), _busy(content)]
    parts += [_quality(content), _settings(content), _absent(content)]
    (folder / f"{name}.md").write_text("\n".join(part for part in parts if part), encoding="utf-8")
    _plot(content, folder / f"{name}.png")


def _head(content: Mapping[str, Any], name: str) -> str:
    machine = content["record"]["machine"]
    warning = "> **Not valid.** Other processes kept CPUs busy meanwhile.\n\n" if content["crowded"] else ""
    bundles = ", ".join(f"{name} {bundle}" for name, bundle in content["bundles"].items())
    title = ": ".join([f"The race on {machine_name(machine)}", *name.split("-", 1)[1:]])
    return f"""# {title}

The same requests through what people use and through onyxrank: texts to a sorted order. All but shared-history run
the same checkpoint; shared-history is another training of the same size, compared with its own fp32.
Written by `benchmarks/race.py`; not edited.

{warning}- measured: {origin(content["record"])}
- machine: {machine["cpu_model"]}, family {machine["machine_family"]}, {machine["cpus_usable"]} usable CPUs
- texts: {content["texts"]}; bundles: {bundles}

Every peer has a process of its own and its best batch size; they take turns in one run. Libraries that this project
does not use itself have an environment of their own; PyTorch, optimum and onnxruntime run in ours, in the versions
named below. **×** is how many times faster than {_REFERENCE} in sorted batches. **Score** is the largest difference
of a probability from fp32 of the same model, in bold where its precision does not explain it; **top 10** the share
of fp32's best ten that it keeps. **p99** of fewer than 100 runs is little more than the longest.
"""


def _workload(content: Mapping[str, Any], name: str) -> str:
    size = content["workloads"][name]
    rows = [(peer, peer["results"][name]) for peer in content["peers"] if "p50_ms" in peer["results"].get(name, {})]
    if not rows:
        return ""
    standard = next((result["p50_ms"] for peer, result in rows if peer["name"] == _REFERENCE), None)
    lines = [
        f"## {name}: history of {size['history_tokens']} tokens, {size['items']:,} items of "
        f"{size['item_tokens_mean']:.0f} on average",
        "",
        "| | p50 ms | p25–p75 | p99 | × | score | top 10 | batch | runs |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for peer, result in sorted(rows, key=lambda row: -float(row[1]["p50_ms"])):
        faster = "" if standard is None else f"{standard / result['p50_ms']:.2f}"
        settings = result["settings"]
        batch = settings.get("batch") or f"{settings.get('micro_batch_tokens', '')} tokens"
        spread = f"{_ms(result['p25_ms'])}–{_ms(result['p75_ms'])}"
        cells = [_name(peer), _ms(result["p50_ms"]), spread, _ms(result["p99_ms"]), faster, _difference(result)]
        lines.append(f"| {' | '.join([*cells, _kept(result), str(batch), str(result['runs'])])} |")
    if size.get("left_out"):
        lines += ["", f"Without {', '.join(size['left_out'])}: they would take an hour, or all the memory."]
    return "\n".join([*lines, ""])


def _busy(content: Mapping[str, Any]) -> str:
    rows = [peer for peer in content["peers"] if "busy" in peer["results"]]
    if not rows:
        return ""
    facts = content["busy"]
    order = " ".join(facts["order"])
    lines = [
        f"## busy: {facts['callers']} callers at once, {order} in turn, for {facts['seconds']:g} s",
        "",
        "× is the longest over what such a request takes alone (p50 above).",
        "",
        "| | items/s | widget p50 ms | widget max | × | page p50 ms | page max | × |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for peer in sorted(rows, key=lambda peer: float(peer["results"]["busy"]["items_per_s"])):
        busy = peer["results"]["busy"]
        cells = [cell for kind in ("widget", "page") for cell in _busy_cells(peer, kind)]
        lines.append(f"| {_name(peer)} | {busy['items_per_s']:,.0f} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _busy_cells(peer: Mapping[str, Any], kind: str) -> list[str]:
    busy, alone = (peer["results"].get(name, {}) for name in ("busy", kind))
    if kind not in busy:
        return ["", "", ""]
    longest = busy[kind]["max_ms"]
    times = f"{longest / alone['p50_ms']:.1f}" if "p50_ms" in alone else ""
    return [_ms(busy[kind]["p50_ms"]), _ms(longest), times]


def _quality(content: Mapping[str, Any]) -> str:
    facts = content["quality"]
    rows = [peer for peer in content["peers"] if "quality" in peer["results"]]
    if not rows:
        return ""
    workload = _first(content)
    lines = [
        f"## Ranking quality: the same {facts['lists']:,} held-out lists of {facts['items']} items",
        "",
        f"| | AUC | NDCG@10 | {workload} p50 ms |",
        "|---|---:|---:|---:|",
    ]
    for peer in rows:
        found, timed = peer["results"]["quality"], peer["results"].get(workload, {})
        cells = [
            f"{found['auc']:.3f}",
            f"{found['ndcg_at_10']:.3f}",
            _ms(timed["p50_ms"]) if "p50_ms" in timed else "",
        ]
        lines.append(f"| {_name(peer)} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _settings(content: Mapping[str, Any]) -> str:
    lines = ["## Settings", "", "| | |", "|---|---|"]
    for peer in content["peers"]:
        facts = "; ".join(f"{name} {value}" for name, value in peer["settings"].items() if name != "batch")
        lines.append(f"| {_name(peer)} | {facts} |")
    return "\n".join([*lines, ""])


def _absent(content: Mapping[str, Any]) -> str:
    reasons = dict(content["failures"]) | {
        peer["name"]: peer["failure"] for peer in content["peers"] if peer["failure"]
    }
    lines = ["## Not in the race, or not to its end", ""]
    if content.get("only"):
        lines.append(f"- all whose names have none of these: {', '.join(content['only'])}; they were not asked for.")
    lines += [f"- {name}: {' '.join(reason.split())}" for name, reason in reasons.items()]
    lines.append(
        "- text-embeddings-inference is a server of its own that PyPI does not have. To add it, start its CPU image "
        "with the checkpoint's folder (`.bench/peers/checkpoint-…`) and write a module beside `st_peer.py` whose "
        "`score` posts to `/rerank`."
    )
    return "\n".join([*lines, ""])


def _plot(content: Mapping[str, Any], path: Path) -> None:
    name = _first(content)
    rows = [
        (peer["name"], peer["results"][name])
        for peer in content["peers"]
        if "p50_ms" in peer["results"].get(name, {})
    ]
    if not rows:
        return
    rows.sort(key=lambda row: -float(row[1]["p50_ms"]))
    figure, axes = plt.subplots(figsize=(9, 0.34 * len(rows) + 1.2))
    values = [result["p50_ms"] for _, result in rows]
    colors = ["#0b6e4f" if peer.startswith(_OURS) else "#9aa5b1" for peer, _ in rows]
    bars = axes.barh([peer for peer, _ in rows], values, color=colors)
    wrong = [bar for bar, (_, result) in zip(bars, rows, strict=True) if _is_wrong(result)]
    for bar in wrong:
        bar.set(hatch="//", edgecolor="white")
    if wrong:
        axes.legend(
            wrong[:1], ["computes other scores than the model's"], loc="upper right", frameon=False, fontsize=9
        )
    axes.bar_label(bars, [f" {value:,.0f} ms" for value in values], fontsize=9)
    size = content["workloads"][name]
    axes.set_title(
        f"{name}: {size['items']} items, history of {size['history_tokens']} tokens, median", loc="left", fontsize=11
    )
    axes.set_xlim(0, max(values) * 1.12)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.xaxis.set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _first(content: Mapping[str, Any]) -> str:
    """Name the workload that stands for the race: the page, else the first."""
    return "page" if "page" in content["workloads"] else str(next(iter(content["workloads"])))


def _name(peer: Mapping[str, Any]) -> str:
    return f"**{peer['name']}**" if peer["name"].startswith(_OURS) else str(peer["name"])


def _difference(result: Mapping[str, Any]) -> str:
    if "score_difference" not in result:
        return ""
    shown = f"{result['score_difference']:.1e}"
    return f"**{shown}**" if _is_wrong(result) else shown


def _is_wrong(result: Mapping[str, Any]) -> bool:
    """Say whether scores differ from fp32's by more than the precision explains."""
    settings = result["settings"]
    told = str(settings.get("precision") or settings.get("variant", "")).split("_")[0].split(" ")[0]
    return float(result.get("score_difference", 0.0)) > _WRONG.get(told, _WRONG["fp32"])


def _kept(result: Mapping[str, Any]) -> str:
    return f"{result['top_10_kept']:.0%}" if "top_10_kept" in result else ""


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
