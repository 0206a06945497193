"""The command ``onyxrank bench``: latency and throughput of a bundle's variants, beside eager PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from onyxrank.architectures.registry import LATE_INTERACTION
from onyxrank.bundle.opening import open_bundle
from onyxrank.bundle.writing import check_writable
from onyxrank.cli import console
from onyxrank.cli.durations import seconds
from onyxrank.errors import InvalidInput
from onyxrank.loading.setting import Setting
from onyxrank.machine import extras
from onyxrank.measure.bench import EAGER_REFERENCE, bench_bundle
from onyxrank.measure.engine_ways import TUNED
from onyxrank.measure.latency import TELLS_P99
from onyxrank.measure.report import BenchReport, WayReport
from onyxrank.measure.requests import Workload
from onyxrank.measure.ways import EAGER_LABELS, WEIGHTS

_ROUNDING = 1e-5
"""Difference of a probability below which two results count as equal; fp32 sums in another order differ by less."""


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    items: Annotated[int, typer.Option(help="Items per request.")] = 100,
    history_tokens: Annotated[
        int | None, typer.Option(help="Tokens of history; the bundle's limit by default.")
    ] = None,
    item_tokens: Annotated[int | None, typer.Option(help="Tokens per item; the bundle's limit by default.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="Measure only this variant; may be repeated.")] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another bundle to measure in the same run; may be repeated.")
    ] = None,
    provider: Annotated[str, typer.Option(help="Execution provider of the engine.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of every way.")] = None,
    micro_batch_tokens: Annotated[int | None, typer.Option(help="Tokens per engine run, padding included.")] = None,
    repeats: Annotated[int, typer.Option(help="Most measured runs per way.")] = 20,
    budget: Annotated[str, typer.Option(help="Time to measure, such as 60s or 5m.")] = "60s",
    eager: Annotated[bool, typer.Option(help="Measure eager PyTorch too, where torch is installed.")] = True,
    price: Annotated[float | None, typer.Option(help="Price of this machine per hour, to give costs.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a report with plots, one file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure latency and throughput on this machine, beside eager PyTorch where torch is installed."""
    if price is not None and not 0 < price < float("inf"):
        raise InvalidInput(f"price must be a positive number, not {price}", field="price")
    if html is not None:
        check_writable(html, "--html")
        write_html = extras.load("onyxrank.measure.html", extra="bench", purpose="a report with plots").write_html
    report = measure(
        bundle,
        history_tokens=history_tokens,
        items=items,
        item_tokens=item_tokens,
        variants=variant or None,
        beside=beside or (),
        provider=provider,
        threads=threads,
        micro_batch_tokens=micro_batch_tokens,
        repeats=repeats,
        budget_s=seconds(budget),
        eager=eager,
        price=price,
    )
    if json:
        console.print_json(report.to_json())
    else:
        show(report)
    if html is not None:
        write_html(report, html)
        console.say(f"wrote {html}")


def measure(
    bundle: Path,
    *,
    items: int,
    history_tokens: int | None = None,
    item_tokens: int | None = None,
    variants: list[str] | None = None,
    beside: Sequence[Path] = (),
    provider: str = "auto",
    threads: int | None = None,
    micro_batch_tokens: int | None = None,
    repeats: int = 20,
    budget_s: float = 60.0,
    eager: bool = True,
    price: float | None = None,
) -> BenchReport:
    """Measure a request of the given size, and say what is left out because a package or a file is missing.

    `bench_bundle` explains the arguments.
    """
    manifest = open_bundle(bundle).manifest
    limits = manifest.limits
    factory = peak = None
    if importlib.util.find_spec("onnx") is None:
        console.say("onnx is not installed: no share of the machine's matrix products")
    else:
        peak = extras.load("onyxrank_export.peak", extra="export", purpose="the machine's peak").machine_peak
    absent = next((name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None), None)
    if eager and manifest.architecture == LATE_INTERACTION:
        console.say("late-interaction keeps what it computes: no eager PyTorch to compare with")
    elif eager and absent:
        console.say(f"{absent} is not installed: no eager PyTorch to compare with")
    elif eager and not (bundle / WEIGHTS).is_file():
        console.say(f"{bundle} has no {WEIGHTS}, as deployment folders have none: no eager PyTorch to compare with")
    elif eager:
        factory = extras.load("onyxrank_export.eager", extra="export", purpose="eager PyTorch").eager_ways
    return bench_bundle(
        bundle,
        workload=Workload(
            name="bench",
            history_tokens=limits.history_tokens if history_tokens is None else history_tokens,
            items=items,
            item_tokens=limits.item_tokens if item_tokens is None else item_tokens,
        ),
        repeats=repeats,
        budget_s=budget_s,
        variants=variants,
        beside=beside,
        provider=provider,
        threads=threads,
        micro_batch_tokens=micro_batch_tokens,
        eager=factory,
        peak=peak,
        price=price,
        say=console.say,
    )


def show(report: BenchReport) -> None:
    """Print a report as tables."""
    compared = any(way.speedup is not None for way in report.ways)
    costs = [] if report.price is None else ["per million"]
    columns = ("p50 ms", "p90", "p95", "p99", "max", "items/s", *(["speed-up"] if compared else []), *costs, "runs")
    table = console.table("", *columns, right=tuple(range(1, len(columns) + 1)))
    table.columns[0].no_wrap = False  # a long name may wrap, so that no figure is cut for it
    for way in report.ways:
        latency = way.latency
        speedup = [f"{way.speedup:.2f}×" if way.speedup is not None else ""] if compared else []
        table.add_row(
            _label(way),
            *(f"{getattr(latency, name):.1f}" for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")),
            f"{latency.items_per_s:,.0f}",
            *speedup,
            *([] if report.price is None else [f"{way.cost_per_million(report.price):.3f}"]),
            str(latency.repeats),
        )
    console.out.print(table)
    for line in _notes(report):
        console.out.print(line, markup=False)


def _label(way: WayReport) -> str:
    return EAGER_LABELS.get(way.name, way.name)


def _setting_lines(ways: Sequence[WayReport]) -> Iterator[str]:
    """Say which settings each way ran with, in one line for all of the engine's variants."""
    tokens = {
        f"{way.settings['micro_batch_tokens']} ({way.settings['architecture']})"
        for way in ways
        if way.shares is not None
    }
    if tokens:
        yield f"onyxrank: runs of up to {' or '.join(sorted(tokens))} tokens, padding included; no history is kept"
    for way in ways:
        if way.shares is None:
            rows = way.settings["rows"]
            each = "1 row a batch" if rows == 1 else f"sorted by length, {rows} rows a batch (the fastest tried)"
            yield f"{_label(way)}: {each}, padded {way.settings['padding']}"
        elif way.name.endswith(TUNED):
            yield f"{way.name}: {Setting.of(way.settings)}"
        elif way.settings["provider"] != "cpu":
            yield f"{way.name}: on {way.settings['provider']}"


def _notes(report: BenchReport) -> list[str]:
    size, machine = report.size, report.machine
    lines = []
    if report.crowded:
        lines.append("NOT VALID: other processes kept the CPUs busy meanwhile; measure again on an idle machine")
    lines += [
        f"request: history {size.history_tokens} tokens, {size.items} items of {size.item_tokens_mean:g} on average, "
        f"{report.settings['texts']}",
        f"machine: {machine['cpu_model']}, {report.settings['threads']} threads, {machine['machine_family']}; "
        + ", ".join(f"{name} {version}" for name, version in report.versions.items()),
    ]
    engine = [way for way in report.ways if way.shares is not None]
    if engine:
        best = min(engine, key=lambda way: way.latency.p50_ms)
        shares = best.shares
        if shares is not None:
            lines.append(
                f"{best.name}: {shares.history + shares.run:.1%} of the time inside the sessions, "
                f"{shares.tokenize:.1%} tokenizing, "
                f"{shares.batch:.1%} batching, {shares.rank:.1%} ranking"
            )
        faster = [way for way in report.ways if way.shares is None and way.latency.p50_ms < best.latency.p50_ms]
        lines += [f"faster than the engine here: {_label(way)}" for way in faster]
    rates = {way.name: way.throughput for way in report.ways if way.throughput is not None}
    if rates:
        callers = max(each.callers for each in rates.values())
        listed = ", ".join(f"{name} {each.items_per_s:,.0f} items/s" for name, each in rates.items())
        lines.append(f"{callers} callers at once: {listed}")
    lines += _setting_lines(report.ways)
    reached = {way.name: way.share_of_peak for way in report.ways if way.share_of_peak is not None}
    if reached and report.peak_gops is not None:
        peaks = ", ".join(f"{name} {value:,.0f}" for name, value in report.peak_gops.items())
        lines.append(
            f"share of the machine's matrix products ({peaks} · 10⁹ operations a second): "
            + ", ".join(f"{name} {share:.0%}" for name, share in reached.items())
        )
    fewest = min(way.latency.repeats for way in report.ways)
    if fewest < TELLS_P99:
        lines.append(
            f"p95 and p99 of fewer than {TELLS_P99} runs are little more than the longest: --repeats, --budget"
        )
    if report.price is not None:
        lines.append(
            f"per million: cost of scoring a million items, one request at a time, at {report.price:g} an hour"
        )
    if report.peak_memory_bytes is not None:
        lines.append(f"peak memory of this process, all ways loaded: {report.peak_memory_bytes / 1e6:,.0f} MB")
    if any(way.speedup is not None for way in report.ways):
        elsewhere = any(way.speedup is None for way in report.ways)
        lines.append(
            f"speed-up is against {EAGER_LABELS[EAGER_REFERENCE]}, in the same rounds"
            + ("; none is told of what ran on another device" if elsewhere else "")
        )
    return lines + _differences(report.ways)


def _differences(ways: Sequence[WayReport]) -> list[str]:
    """Say how far each way's probabilities are from fp32's, if there was an fp32 way to compare with."""
    compared = {_label(way): way.score_difference for way in ways if way.score_difference is not None}
    off = [f"{name} {difference:.0e}" for name, difference in compared.items() if difference >= _ROUNDING]
    if not compared:
        return []
    rest = [f"{'the others ' if off else ''}less than {_ROUNDING:.0e}"] if len(off) < len(compared) else []
    return [f"a probability differs from fp32's by at most: {', '.join([*off, *rest])}"]
