"""The figures of a load run, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provenance import origin

_FIRST_MINUTE_S = 60.0


def write_page(figures: Mapping[str, Any], path: Path) -> None:
    """Write the page."""
    path.write_text("\n".join(_lines(figures)) + "\n", encoding="utf-8")


def memory_growth(samples: list[list[float]]) -> float:
    """Return how much resident memory grew after the first minute, as a share: 0.05 is 5 % more."""
    after = [size for moment, size in samples if moment >= _FIRST_MINUTE_S] or [size for _, size in samples]
    return after[-1] / after[0] - 1


def _lines(figures: Mapping[str, Any]) -> list[str]:
    steady, flood, extra = (figures[name] for name in ("steady", "overload", "overhead"))
    machine = figures["record"]["machine"]
    bare = sum(figures["bare_items_per_second"]) / 2
    bound = figures["queue_tokens"] / figures["tokens_per_second"]
    growth = memory_growth(steady["rss_mib"])
    return [
        "# The server under load",
        "",
        f"Written by `make load`; not edited. {machine['cpu_model']}, {machine['cpus_usable']} CPUs, kernels "
        f"{machine['machine_family']}, {machine['os']}, Python {machine['python']}; MiniLM-L6, "
        f"{figures['bundle']['architecture']}, {figures['bundle']['variant']}; one worker. locust asks from the same "
        "CPUs, so the server has less than all of them, and every answer is checked against the bare engine's scores "
        "of its own request.",
        "",
        f"Measured {origin(figures['record'])}.",
        "",
        "| | |",
        "| --- | ---: |",
        f"| a widget (10 items): `Ranker.rank`, p50 | {extra['rank_p50_ms']} ms |",
        f"| … over HTTP, p50 | {extra['http_p50_ms']} ms |",
        f"| … p50 of the difference, {extra['repeats']} pairs taking turns | {extra['difference_p50_ms']} ms |",
        f"| bare engine, 8 threads, the same mix, mean of two runs | {bare:.0f} items/s |",
        f"| served, {steady['connections']} connections, {steady['minutes']:g} minutes | "
        f"{steady['items_per_second']:.0f} items/s ({steady['items_per_second'] / bare:.0%}) |",
        f"| resident memory at the end, against that after a minute | {growth:+.1%} "
        f"({steady['rss_mib'][-1][1]:.0f} MiB) |",
        f"| the queue's limit ({figures['queue_tokens']} tokens) at the measured speed | {bound:.1f} s |",
        f"| {flood['offered_per_second']} requests/s, three times what it can: /health/live, p99 | "
        f"{flood['health_ms']['p99']} ms |",
        f"| a widget is as quick as before (within 2 × {flood['idle_widget_ms']} ms) after "
        f"| {flood['recovery_s']} s |",
        "",
        "## What became of the requests",
        "",
        "| | " + " | ".join(sorted(set(steady["outcomes"]) | set(flood["outcomes"]))) + " |",
        "| --- |" + " ---: |" * len(set(steady["outcomes"]) | set(flood["outcomes"])),
        *(
            f"| {name} | "
            + " | ".join(
                str(part["outcomes"].get(outcome, 0))
                for outcome in sorted(set(steady["outcomes"]) | set(flood["outcomes"]))
            )
            + " |"
            for name, part in (("64 connections", steady), ("three times too much", flood))
        ),
        "",
        "## Milliseconds of the admitted",
        "",
        "| | | p50 | p95 | p99 | max |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {name} | {kind} | " + " | ".join(str(times[p]) for p in ("p50", "p95", "p99", "max")) + " |"
            for name, part in (("64 connections", steady), ("three times too much", flood))
            for kind, times in part["latency_ms"].items()
        ),
    ]
