"""Writes a benchmark's report as one HTML file with its plots inside, so that a browser loads nothing else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from onyxrank.measure.report import BenchReport, WayReport
from onyxrank.measure.ways import EAGER_LABELS

_STAGES = ("tokenize", "queue", "history", "batch", "run", "rank")
_COLORS = ("#c9a227", "#8a97a6", "#7b2d8b", "#d1495b", "#0b6e4f", "#2b59c3")
_OURS, _THEIRS = "#0b6e4f", "#9aa5b1"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2733; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #dfe5ea; }
th:first-child, td:first-child { text-align: left; }
.warning { background: #fff3cd; padding: .75rem 1rem; }
.scroll { overflow-x: auto; }
svg { width: 100%; height: auto; }
footer { color: #5b6b7b; font-size: .9rem; }
"""


def write_html(report: BenchReport, path: Path) -> None:
    """Write a report as HTML.

    Args:
        report: the figures.
        path: the file to write; its folder is made if there is none.

    """
    size, machine = report.size, report.machine
    title = f"{size.items} items, history of {size.history_tokens} tokens"
    parts = [
        f"<h1>onyxrank bench: {escape(title)}</h1>",
        f"<p>{escape(str(machine['cpu_model']))}, {report.settings['threads']} threads, "
        f"{escape(str(machine['machine_family']))}; items of {size.item_tokens_mean:g} tokens on average, "
        f"{escape(str(report.settings['texts']))}; {escape(report.measured_at)}</p>",
    ]
    if report.crowded:
        parts.append('<p class="warning">Not valid: other processes kept the CPUs busy meanwhile.</p>')
    parts += [
        "<h2>Latency</h2>",
        _latency_plot(report.ways),
        _table(report),
    ]
    staged = [way for way in report.ways if way.shares is not None]
    if staged:
        parts += ["<h2>Where the engine's time goes</h2>", _stage_plot(staged)]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    parts.append(f"<footer>{escape(versions)}</footer>")
    body = "\n".join(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>onyxrank bench</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )


def _table(report: BenchReport) -> str:
    costs = [] if report.price is None else [f"per million, at {report.price:g} an hour"]
    figures = ("p50 ms", "p90", "p95", "p99", "max", "items/s", "items/s at once", "× eager fp32")
    heads = ["", *figures, "of the peak", "memory MB", "off fp32", *costs]
    rows = ["".join(f"<th>{escape(head)}</th>" for head in heads)]
    for way in report.ways:
        latency = way.latency
        cells = [
            _label(way),
            *(f"{getattr(latency, name):,.1f}" for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")),
            f"{latency.items_per_s:,.0f}",
            "" if way.throughput is None else f"{way.throughput.items_per_s:,.0f}",
            "" if way.speedup is None else f"{way.speedup:.2f}",
            "" if way.share_of_peak is None else f"{way.share_of_peak:.0%}",
            "" if way.added_memory_bytes is None else f"{way.added_memory_bytes / 1e6:,.0f}",
            "" if way.score_difference is None else f"{way.score_difference:.0e}",
            *([] if report.price is None else [f"{way.cost_per_million(report.price):.3f}"]),
        ]
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    return f'<div class="scroll"><table>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'


def _latency_plot(ways: Sequence[WayReport]) -> str:
    figure, axes = _axes(len(ways))
    labels = [_label(way) for way in ways]
    colors = [_THEIRS if way.shares is None else _OURS for way in ways]
    medians = [way.latency.p50_ms for way in ways]
    above = [way.latency.p99_ms - way.latency.p50_ms for way in ways]
    axes.barh(labels, medians, color=colors, xerr=[[0.0] * len(ways), above], ecolor="#5b6b7b", capsize=3)
    axes.set_xlabel("milliseconds: median, line to the 99th percentile")
    axes.invert_yaxis()
    return _svg(figure, "Latency of every way: " + "; ".join(map("{} {:.0f} ms".format, labels, medians)))


def _stage_plot(ways: Sequence[WayReport]) -> str:
    figure, axes = _axes(len(ways))
    labels = [_label(way) for way in ways]
    left = [0.0] * len(ways)
    for stage, color in zip(_STAGES, _COLORS, strict=True):
        widths = [100 * getattr(way.shares, stage) for way in ways]
        axes.barh(labels, widths, left=left, color=color, label=stage)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_xlabel("% of the time")
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    axes.legend(ncols=len(_STAGES), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return _svg(figure, "Share of the stages in the engine's time")


def _axes(rows: int) -> tuple[Any, Any]:
    figure, axes = plt.subplots(figsize=(9, 0.42 * rows + 1.3))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any, description: str) -> str:
    figure.tight_layout()
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    plt.close(figure)
    text = target.getvalue()
    return text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)


def _label(way: WayReport) -> str:
    return EAGER_LABELS.get(way.name, way.name)
