"""The command ``onyxrank inspect``: what a bundle holds, how it was made, and what this machine runs of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from onyxrank.bundle.manifest import Manifest
from onyxrank.bundle.opening import open_bundle
from onyxrank.cli import console
from onyxrank.machine.cpus import describe, machine_family
from onyxrank.ranker import Ranker
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import AUTO


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show what is in a bundle, how it was made, its gate report, and what this machine runs."""
    opened = open_bundle(bundle)
    with Ranker.load(bundle) as ranker:
        info = ranker.info()
    machine, offered = describe(), offered_providers(AUTO)
    if json:
        console.print_json(
            {"manifest": opened.manifest.to_json(), "machine": machine | {"providers": offered}, "loads": info}
        )
        return
    manifest = opened.manifest
    console.out.print(_overview(manifest))
    console.heading("Variants, and what the gate measured against fp32")
    console.out.print(variants_table(manifest))
    for line in _gate_lines(manifest):
        console.out.print(line)
    for variant in manifest.variants:
        if variant.machines:
            console.out.print(f"{variant.name} is for {', '.join(variant.machines)}")
    console.heading("Files (all present, SHA-256 verified)")
    files = console.table("file", "MB", right=(1,))
    for path, entry in manifest.files.items():
        files.add_row(path, f"{entry.bytes / 1e6:.1f}")
    console.out.print(files)
    console.heading("On this machine")
    console.out.print(machine["cpu_model"])
    console.out.print(f"{machine['cpus_usable']} usable CPUs, kernels: {machine_family()}")
    console.out.print(f"onnxruntime {info['onnxruntime_version']} offers {', '.join(offered)}")
    console.out.print(f"loads {info['variant']} on {info['provider']}: {info['variant_reason']}")
    profile = info["profile"]
    console.out.print(f"profile: {profile['file']}" if profile else f"profile: {info['profile_hint']}", markup=False)


def variants_table(manifest: Manifest) -> Group:
    """Make a table with one line for each variant, in order of preference, and a legend of its columns."""
    table = console.table("variant", "ΔAUC", "NDCG@10", "top 10", "alone", "gate", "readout", right=(1, 2, 3, 4))
    for variant in manifest.variants:
        gate = variant.gate or {}
        table.add_row(
            variant.name,
            _told(gate.get("auc_change"), "+.4f"),
            _told(gate.get("ndcg_kept"), ".1%"),
            _told(gate.get("overlap"), ".3f"),
            f"{variant.batch_deviation:.0e}" + (" " if variant.batch_invariant else "*"),
            ("passed" if gate["passed"] else "FORCED") if gate else "",
            variant.readout.kind,
        )
    legend = [
        "against fp32: change of AUC, share kept of NDCG@10 above chance, mean overlap of the top 10",
        "alone: largest change of a score when the item is scored without its list",
    ]
    if any(not variant.batch_invariant for variant in manifest.variants):
        legend.append("* depends on the list: loaded only when asked for by name")
    # The legend is no caption of the table, since it would then be as narrow as the table.
    return Group(table, Text("\n".join(legend), style="dim"))


def _told(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _overview(manifest: Manifest) -> Table:
    training = manifest.training
    table = console.table("", "")
    table.show_header = False
    table.add_row("architecture", f"{manifest.architecture}, {manifest.head} head")
    table.add_row("limits", f"{manifest.limits.history_tokens} history + {manifest.limits.item_tokens} item tokens")
    table.add_row("written by", f"onyxrank {manifest.onyxrank_version}")
    table.add_row("parity with PyTorch", _parity(manifest.parity))
    table.add_row("converted with", _listed(manifest.parity.get("versions", {})) or "not recorded")
    if training:
        config, facts = training.get("config", {}), training.get("training", {})
        table.add_row("trained from", f"{config.get('base')}, seed {config.get('seed')}, {facts.get('steps')} steps")
        table.add_row(
            "validation", ", ".join(f"{key} {_figure(value)}" for key, value in facts["validation"].items())
        )
        table.add_row("data", f"{training['data']['kind']}, fingerprint {training['data']['fingerprint'][:16]}…")
        table.add_row("trained with", _listed(training["versions"]))
    else:
        table.add_row("trained", "elsewhere")
    return table


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _figure(value: float | None) -> str:
    return "not told" if value is None else f"{value:.4f}"


def _parity(parity: Any) -> str:
    differences = parity.get("max_logit_difference", {})
    return ", ".join(f"{name} {value:.1e}" for name, value in differences.items()) or "not recorded"


def _gate_lines(manifest: Manifest) -> list[str]:
    gate = manifest.gate
    if "limits" not in gate:
        return [f"no gate: {gate.get('reason', 'not recorded')}"]
    limits = gate["limits"]
    lines = [
        f"gate: {gate['lists']} held-out lists, {gate['pairs']} pairs; |ΔAUC| ≤ {limits['auc_change']}, "
        f"NDCG@10 kept ≥ {limits['ndcg_kept']:.0%}, top-10 overlap ≥ {limits['overlap']}"
        + (f", each sure but for {limits['error']:.0%}" if "error" in limits else "")
        + ("; FORCED by --force" if gate["forced"] else "")
    ]
    for name, verdict in gate["refused"].items():
        # Bundles of schema 1 have faults alone.
        reasons = verdict.get("reasons", verdict.get("faults", ()))
        lines.append(f"{verdict.get('outcome', 'refused')} {name}: {'; '.join(reasons)}")
    return lines + _readout_lines(manifest)


def _readout_lines(manifest: Manifest) -> list[str]:
    """Say how probabilities are made: fitted on which share of purchases, and for which share they hold."""
    lines = {}
    for variant in manifest.variants:
        report = variant.calibration
        if report is None or report.get("form") is None:
            lines[variant.name] = "probabilities are the logistic function's, not calibrated"
            continue
        rate = report["base_rate"]
        share = f"{report['share']:.2%} purchases, as in those lists" if rate is None else f"{rate:.2%} purchases"
        lines[variant.name] = (
            f"{report['form']} on {report['lists']} held-out lists, log loss {report['log_loss']:.4f} (a constant's "
            f"{report['constant_log_loss']:.4f}), for a share of {share}"
        )
    return [f"readout of {name}: {told}" for name, told in lines.items()]
