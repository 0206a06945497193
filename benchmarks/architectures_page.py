"""The comparison of the architectures as a page of Markdown and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from provenance import origin

LABELS = {"sorted_batches": "eager PyTorch fp32", "sorted_batches_bf16": "eager PyTorch bf16"}
_COLOURS = {
    "sorted_batches": "#7a7a7a",
    "sorted_batches_bf16": "#b8b8b8",
    "cross fp32": "#56b4e9",
    "cross int8": "#0072b2",
    "shared-history fp32": "#e69f00",
    "shared-history int8": "#d55e00",
}
_INK = "#333333"


def write_page(content: dict[str, Any], out: Path) -> None:
    """Write ``architectures.md`` and ``architectures.png`` to a folder."""
    draw(content, out / "architectures.png")
    (out / "architectures.md").write_text(_page(content), encoding="utf-8")


def draw(content: dict[str, Any], target: Path) -> None:
    """Draw the time by items, and by the length of the history."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8))
    for axes, cells, key, title in (
        (left, content["by_items"], "items", f"history of {content['by_items'][0]['history_tokens']} tokens"),
        (right, content["by_history"], "history_tokens", f"{content['by_history'][0]['items']} items"),
    ):
        for name in (way["name"] for way in cells[0]["ways"]):
            points = [(cell[key], _median(cell, name)) for cell in cells]
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                markersize=4,
                color=_COLOURS[name],
                linestyle="--" if name in LABELS else "-",
                label=LABELS.get(name, name),
            )
        axes.set(yscale="log", ylabel="median latency, ms", xlabel=key.replace("_", " "))
        if key == "items":
            axes.set(xscale="log")
        axes.set_xticks([cell[key] for cell in cells], [f"{cell[key]:,}" for cell in cells])
        axes.minorticks_off()
        axes.set_title(title, loc="left", fontsize=11)
        axes.grid(visible=True, color="#e6e6e6", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(fontsize=8, frameon=False)
    caption = f"{content['record']['machine']['cpu_model']}, {content['threads']} threads"
    if content["crowded"]:
        caption += " – NOT VALID: other processes used the CPUs meanwhile"
    figure.suptitle(caption, fontsize=9, color=_INK, x=0.01, ha="left")
    figure.tight_layout()
    figure.savefig(target, dpi=140, metadata={"Software": None})
    plt.close(figure)


def _page(content: dict[str, Any]) -> str:
    page, machine = content["page"], content["record"]["machine"]
    reference, cross = _median(page, "sorted_batches"), _median(page, "cross fp32")
    lines = ["# Cross and shared-history", ""]
    if content["crowded"]:
        lines += ["> **Not valid.** Other processes used the CPUs meanwhile.", ""]
    lines += [
        f"MiniLM-L6, texts of {content['texts']}, tokenization included; {machine['cpu_model']}, "
        f"{content['threads']} threads, family {machine['machine_family']}. Written by `make architectures`; not "
        "edited.",
        "",
        f"Measured {origin(content['record'])}.",
        "",
        f"## One page: history of {page['history_tokens']} tokens, {page['items']} items of "
        f"{page['item_tokens_mean']} on average",
        "",
        "| way | p50 ms | p95 ms | items/s | × eager fp32 | × cross fp32 | history ms | runs |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for way in page["ways"]:
        latency = way["latency"]
        median = latency["p50_ms"]
        history = "" if not way["shares"] else f"{way['shares']['history'] * latency['mean_ms']:.1f}"
        lines.append(
            f"| {LABELS.get(way['name'], way['name'])} | {median:,.0f} | {latency['p95_ms']:,.0f} "
            f"| {latency['items_per_s']:,.0f} | {reference / median:.1f} | {cross / median:.1f} | {history} "
            f"| {latency['repeats']} |"
        )
    lines += ["", *_tuned(content["settings"])]
    lines += [*_growth(content["by_items"], "items"), "", *_growth(content["by_history"], "history_tokens"), ""]
    lines += ["![time by items and by history](architectures.png)", "", "## The items graph", ""]
    lines += [
        _of_graph(precision, figures, content["peaks_gops"]) for precision, figures in content["items_graph"].items()
    ]
    return "\n".join(lines) + "\n"


def _tuned(settings: dict[str, dict[str, Any]]) -> list[str]:
    """Say what was chosen for the ways that are tuned."""
    return [
        f"{name}: threads of a run {setting['threads']}, runs at once {setting['sessions']}, most tokens of a run "
        f"{setting['micro_batch_tokens']:,}.\n"
        for name, setting in settings.items()
        if name.endswith("tuned")
    ]


def _of_graph(precision: str, figures: dict[str, Any], peaks: dict[str, float]) -> str:
    operators = figures["operators"]
    told = "By operator: " + ", ".join(f"{name} {share:.1%}" for name, share in operators.items()) + "."
    if precision == "plain":
        return f"- before: the plain fp32 graph over pairs of history and item. {told}"
    shares = figures["share_of_peak"]
    # The products cannot be faster than the peak, so a share above theirs shows that the peak is too low.
    doubt = "" if max(shares.values()) <= operators["products"] else " (too low: products take less)"
    listed = ", ".join(f"{share:.0%} ({name})" for name, share in shares.items())
    return (
        f"- {precision}: products with constant weights are {figures['gigaoperations']:.0f}·10⁹ operations a page. "
        f"Of the measured peak ({peaks[precision]:,.0f}·10⁹ a second){doubt} that is, over the whole time of "
        f"the graph, {listed}. {told}"
    )


def _growth(cells: list[dict[str, Any]], key: str) -> list[str]:
    names = [way["name"] for way in cells[0]["ways"]]
    runs = sorted({way["latency"]["repeats"] for cell in cells for way in cell["ways"]})
    told = " to ".join(str(count) for count in dict.fromkeys((runs[0], runs[-1])))
    lines = [
        f"## By {key.replace('_', ' ')}, p50 in ms of {told} runs",
        "",
        f"| {key.replace('_', ' ')} | {' | '.join(LABELS.get(name, name) for name in names)} |",
        f"|---:|{'---:|' * len(names)}",
    ]
    for cell in cells:
        medians = [f"{way['latency']['p50_ms']:,.0f}" + ("\\*" if way["scaled_from"] else "") for way in cell["ways"]]
        lines.append(f"| {cell[key]:,} | {' | '.join(medians)} |")
    scaled = {way["scaled_from"] for cell in cells for way in cell["ways"] if way["scaled_from"]}
    if scaled:
        lines += ["", f"\\* measured on {max(scaled)} items and multiplied: linear by construction."]
    return lines


def _median(cell: dict[str, Any], name: str) -> float:
    return float(next(way["latency"]["p50_ms"] for way in cell["ways"] if way["name"] == name))
