"""The command ``onyxrank export``: from a training run to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onyxrank.bundle.writing import check_replaceable
from onyxrank.cli import console
from onyxrank.cli.inspect import variants_table
from onyxrank.machine import extras
from onyxrank.request.truncation import Limits


def command(
    run: Annotated[Path, typer.Argument(help="Run folder, or a fine-tuned cross-encoder with 1 or 2 classes.")],
    out: Annotated[Path, typer.Option(help="Bundle folder to write.")],
    precision: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: fp32, int8, int8_static, int8_dynamic, fp16 (for GPUs), bf16 (OpenVINO, on a CPU "
            "that has it). fp32 is always written."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data to calibrate and gate on; by default what the run was trained on."),
    ] = None,
    gate_lists: Annotated[
        int, typer.Option(help="Most held-out lists the gate looks at; it stops as soon as it is sure.")
    ] = 2048,
    base_rate: Annotated[
        float | None,
        typer.Option(help="Share of the items shown that the shop sells, 0 to 1: probabilities are for this share."),
    ] = None,
    history_tokens: Annotated[int | None, typer.Option(help="Limit of a model not trained here.")] = None,
    item_tokens: Annotated[int | None, typer.Option(help="Limit of a model not trained here.")] = None,
    relevant: Annotated[
        str | None, typer.Option(help="Name of the class of relevant items, of a model not trained here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write variants that fail the gate too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
) -> None:
    """Convert a run to ONNX, quantize, check against PyTorch and the quality gate, and write a bundle."""
    # Both folders are checked before PyTorch is loaded, which takes seconds.
    extras.require("torch", extra="export", purpose="export")
    extras.load("onyxrank_export.training.run", extra="export", purpose="export").read_run(run)
    check_replaceable(out, overwrite=overwrite)
    module = extras.load("onyxrank_export.conversion.export", extra="export", purpose="export")
    limits = None
    if history_tokens is not None or item_tokens is not None:
        default = Limits()
        limits = Limits(
            history_tokens=default.history_tokens if history_tokens is None else history_tokens,
            item_tokens=default.item_tokens if item_tokens is None else item_tokens,
        )
    config = module.ExportConfig(
        precisions=None if precision is None else tuple(name.strip() for name in precision.split(",")),
        gate_lists=gate_lists,
        base_rate=base_rate,
        force=force,
        overwrite=overwrite,
        limits=limits,
        relevant=relevant,
    )
    manifest = export_run(run, out, config, data=data)
    console.out.print(variants_table(manifest))
    console.out.print(f"Bundle: {out}")
    console.out.print(f"Next: onyxrank rank {out} --history TEXT --items FILE")


def export_run(run: Path, out: Path, config: object, *, data: Path | None = None) -> Any:
    """Export a run with a progress bar, saying what is done at each step.

    Args:
        run: the run's folder.
        out: the bundle's folder.
        config: an ``ExportConfig`` of `onyxrank_export`, which is loaded by name.
        data: data to calibrate and gate on, or None for what the run was trained on.

    Returns:
        The manifest of the bundle.

    """
    module = extras.load("onyxrank_export.conversion.export", extra="export", purpose="export")
    with console.progress("scoring held-out lists") as bar:
        task = bar.add_task("", total=None, note="")
        return module.export_bundle(
            run,
            out,
            config,
            data=data,
            say=console.say,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
