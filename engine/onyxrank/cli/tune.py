"""The command ``onyxrank tune``: finds the fastest setting on this machine and writes it down as a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from onyxrank.bundle.opening import open_bundle
from onyxrank.bundle.writing import check_writable, folder_size
from onyxrank.cli import console
from onyxrank.cli.durations import seconds
from onyxrank.loading.profile import Profile, profile_path, write_profile
from onyxrank.loading.setting import Setting
from onyxrank.machine.fingerprint import machine_fingerprint
from onyxrank.measure.latency import TELLS_P99
from onyxrank.tune.deploy import check_deployable, deploy
from onyxrank.tune.options import TuneOptions
from onyxrank.tune.space import Target
from onyxrank.tune.tuning import tune_bundle

_SHOWN = 12
"""Most settings that the table shows; ``--json`` has all."""
_BAR_STEPS = 1000
"""Steps of the progress bar, which shows a share of the budget and not a count."""


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    requests: Annotated[
        Path | None,
        typer.Option(
            help='jsonl file of your requests, {"history": [...], "items": [...]} a line; else the bundle\'s.'
        ),
    ] = None,
    target: Annotated[str, typer.Option(help="latency (of one request at a time) or throughput.")] = "latency",
    p99_ms: Annotated[float | None, typer.Option(help="Most milliseconds to score 99 of 100 requests.")] = None,
    budget: Annotated[str, typer.Option(help="Time to measure, such as 120s or 5m.")] = "120s",
    provider: Annotated[
        list[str] | None, typer.Option(help="Look at this execution provider only; may be repeated.")
    ] = None,
    exhaustive: Annotated[bool, typer.Option(help="Measure every setting as often, to check the search.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the profile; else into the bundle's folder.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Also write a slim folder for this machine, with just what the profile needs.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the folder of --export.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the profile as JSON.")] = False,
) -> None:
    """Find the fastest setting on this machine that keeps the ranking, and write it down for `Ranker.load`."""
    options = TuneOptions(
        target=cast(Target, target),
        p99_ms=p99_ms,
        budget_s=seconds(budget),
        providers=provider or None,
        requests=requests,
        exhaustive=exhaustive,
    )
    opened = open_bundle(bundle)
    path = out or profile_path(bundle, machine_fingerprint())
    check_writable(path)
    if export is not None:
        check_deployable(opened, export, overwrite=overwrite)
    with console.progress("tuning") as bar:
        task = bar.add_task("tuning", total=_BAR_STEPS, note="")
        profile = tune_bundle(
            opened, options, lambda share, note: bar.update(task, completed=int(_BAR_STEPS * share), note=note)
        )
    write_profile(profile, path)
    if export is not None:
        deploy(opened, profile, export, overwrite=overwrite)
    if json:
        console.print_json(profile.to_json())
    else:
        show(profile)
    console.say(f"wrote {path}")
    if export is not None:
        console.say(f"wrote {export}: {folder_size(export) / 1e6:.0f} MB instead of {folder_size(bundle) / 1e6:.0f}")


def show(profile: Profile) -> None:
    """Print a table of the settings that were measured, and which one was chosen and why."""
    report = profile.report
    columns = ("variant", "provider", "runs", "tokens", "ms", "p99 ms", "items/s", "")
    table = console.table(*columns, right=(2, 3, 4, 5, 6))
    rows = report["table"]
    best = next(row for row in rows if Setting.of(row) == profile.setting)
    for row in rows[:_SHOWN] if best in rows[:_SHOWN] else [*rows[: _SHOWN - 1], best]:
        chosen = row is best
        table.add_row(
            row["variant"],
            row["provider"],
            f"{row['sessions']} × {row['threads']}",
            f"{row['micro_batch_tokens']:,}",
            *(f"{row[name]:,.1f}" for name in ("request_ms", "p99_ms")),
            f"{row['items_per_s']:,.0f}",
            "chosen" if chosen else _note(row),
            style="bold green" if chosen else "",
        )
    console.out.print(table)
    together = ", in which several are answered at once" if profile.target == "throughput" else ""
    console.out.print(
        f"runs: at once × threads; ms: of a request, mean of the median round{together}; p99: the chosen one's is of "
        f"{best['requests']} requests"
    )
    if len(rows) > _SHOWN:
        console.out.print(f"… and {len(rows) - _SHOWN} more settings; --json shows all")
    console.out.print(f"chosen for {profile.target}: {profile.setting}", markup=False)
    found = best["agreement"]
    console.out.print(
        f"against fp32 on {found['lists']} requests: keeps {found['overlap']:.1%} of the best items, "
        f"a probability differs by {found['largest_difference']:.4f} at most",
        markup=False,
    )
    raced = report["requests"]["raced"]
    console.out.print(f"requests: {report['requests']['source']}; {report['requests']['different']} of them raced")
    longest, whole = max(items for _, items in raced), report["requests"]["longest_list"]
    if longest < whole:
        console.say(f"their lists were cut from {whole} items to {longest}: a longer --budget races them whole")
    if report["p99_ms"] is not None and best["requests"] < TELLS_P99:
        console.say(
            f"its 99th percentile is of {best['requests']} requests: give it a longer --budget for {TELLS_P99}"
        )
    if report["interrupted"]:
        console.say("interrupted: this is the best of what was measured by then")
    if report["settings_unmeasured"]:
        console.say(f"{len(report['settings_unmeasured'])} settings had no turn: give it a longer --budget")
    for setting, reason in report["settings_failed"].items():
        console.say(f"did not run: {setting}: {reason}")


def _note(row: Mapping[str, Any]) -> str:
    if row["agreement"]:
        return "; ".join(row["agreement"]["faults"])
    return f"out after round {row['rounds']}" if row["fate"] else ""
