"""From a run to a bundle: convert, check, quantize, judge, write.

1. Load the run's model, and the held-out and training lists that it is checked and calibrated on (`material`).
2. Write the fp32 graphs; all must give PyTorch's logits (`architectures`, `parity`).
3. Quantize as asked, and let the gate leave out what ranks worse than fp32 (`quantized_variants`).
4. Write the manifest. If a precision that was asked for has nothing left, no bundle is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onyxrank.architectures.readout import Readout
from onyxrank.bundle.entries import TokenizerSpec, Variant
from onyxrank.bundle.manifest import MANIFEST_NAME, Manifest
from onyxrank.bundle.writing import file_entries, new_folder, write_manifest
from onyxrank.machine.fingerprint import installed_versions
from onyxrank.measure.invariance import BATCH_INVARIANT, batch_deviation
from onyxrank.tune.sample import SAMPLE_FILE, write_requests
from onyxrank_export.conversion.architectures import Files, conversion_of
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.export_config import ExportConfig
from onyxrank_export.conversion.export_context import READOUT_LISTS, ExportContext, Say
from onyxrank_export.conversion.gate import GateSample, Progress, Scoring, Verdict
from onyxrank_export.conversion.loaded import Loaded, load_model, write_model
from onyxrank_export.conversion.material import Material, demo_material, material_of
from onyxrank_export.conversion.parity import TOLERANCE
from onyxrank_export.conversion.quantized_variants import check_computable, quantized_variants
from onyxrank_export.conversion.sample import sample_requests
from onyxrank_export.training.base import is_prefix_safe
from onyxrank_export.training.run import Run, read_run, share_mode

__all__ = ["ExportConfig", "export_bundle"]

_CONVERTERS = ("torch", "transformers", "optimum-onnx", "onnx", "onnxruntime")
_PARITY_LISTS, _DEVIATION_LISTS = 8, 2


def export_bundle(
    run_folder: str | Path,
    out: str | Path,
    config: ExportConfig,
    *,
    data: str | Path | None = None,
    say: Say = print,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Convert a run, or a fine-tuned cross-encoder folder, into a bundle.

    Args:
        run_folder: what ``train`` wrote, or a model folder in Hugging Face format with 1 or 2 output classes.
        out: the bundle to write.
        config: precisions, gate, what may be overwritten.
        data: the data to check and calibrate on; by default what the run was trained on.
        say: told each step as it begins.
        progress: told how many of how many held-out lists a graph has scored.

    Returns:
        The manifest of the bundle.

    Raises:
        RunError: if the run is missing or unfinished.
        DataError: if the data cannot be read.
        ExportError: if the conversion lost something, or the bundle exists.
        GateRefused: if a precision that was asked for does not pass.
        ProviderUnavailable: if bf16 was asked for and cannot be computed here, so not be judged.

    """
    run = read_run(run_folder)
    loaded = load_model(run, config)
    encoder = loaded.encoder
    material = material_of(run, data, most=config.gate_lists)
    precisions = config.quantized(with_data=material is not None)
    check_computable(precisions)
    own_data = material is not None
    if material is None:
        if precisions:
            raise ExportError("int8 is calibrated and gated on real pairs: name the data with --data")
        say("no data given: fp32 only, checked on the demo shop's texts (int8 needs --data)")
        material = demo_material(most=config.gate_lists)
    elif precisions and not any(0 < row.labels.mean() < 1 for row in material.held_out):
        raise ExportError("no held-out list has both a purchase and another item: nothing to judge int8 by")
    with new_folder(Path(out), overwrite=config.overwrite) as folder:
        context = ExportContext(
            folder=folder,
            config=config,
            architecture=run.architecture,
            head=loaded.head,
            pad_id=int(loaded.model.config.pad_token_id or 0),
            conversion=conversion_of(run.architecture, loaded.model, encoder.limits),
            own_data=own_data,
            sample=GateSample(material.held_out, [material.encode(encoder, row) for row in material.held_out]),
            say=say,
            progress=progress,
        )
        manifest = _write_contents(context, run, loaded, material, precisions)
        write_manifest(folder, manifest)
        share_mode(folder / MANIFEST_NAME)
    return manifest


def _write_contents(
    context: ExportContext,
    run: Run,
    loaded: Loaded,
    material: Material,
    precisions: Sequence[str],
) -> Manifest:
    """Write everything of a bundle but its manifest, and give that."""
    folder, graphs = context.folder, context.folder / "onnx"
    graphs.mkdir()
    write_model(run, loaded, folder)
    histories = [row.history for row in material.held_out]
    write_requests(sample_requests(histories, material.items), folder / SAMPLE_FILE)
    context.say("exporting fp32")
    written = context.conversion.write(graphs)
    context.say("checking parity with PyTorch")
    parity = context.conversion.parity(graphs, context.sample.requests[:_PARITY_LISTS], context.pad_id)
    verdicts: dict[str, Verdict] = {}
    quantized: list[Variant] = []
    source = next(iter(written.values()))
    with context.opened(source) as fp32:
        expected = Scoring(fp32, context.sample, context.progress)
        if precisions:
            calibration = material.calibration(loaded.encoder)
            quantized, verdicts = quantized_variants(context, precisions, source, calibration, expected)
        # The logits of all fp32 graphs are PyTorch's to 1e-4: one readout is for all of them.
        fitted = context.readout(expected.first(max(READOUT_LISTS, expected.scored)) if context.own_data else [])
    variants = [_fp32_variant(context, name, files, *fitted) for name, files in written.items()]
    # The engine takes the first variant that fits the machine: static int8 goes before fp32.
    static = [variant for variant in quantized if variant.precision == "int8_static"]
    variants = [*static, *variants, *(variant for variant in quantized if variant not in static)]
    return Manifest(
        onyxrank_version=version("onyxrank"),
        architecture=run.architecture,
        head=context.head,
        limits=loaded.encoder.limits,
        tokenizer=TokenizerSpec(
            file="tokenizer.json",
            cls_token=str(loaded.tokenizer.cls_token),
            sep_token=str(loaded.tokenizer.sep_token),
            prefix_safe=is_prefix_safe(loaded.tokenizer),
        ),
        variants=tuple(variants),
        files=file_entries(folder),
        parity={"max_logit_difference": parity, "limit": TOLERANCE, "versions": installed_versions(_CONVERTERS)},
        gate=_gate_report(context, verdicts, {variant.name for variant in variants}),
        training=dict(run.facts),
    )


def _fp32_variant(
    context: ExportContext, name: str, files: Files, readout: Readout, calibration: Mapping[str, Any] | None
) -> Variant:
    with context.opened(files) as architecture:
        deviation = batch_deviation(architecture, context.sample.requests[:_DEVIATION_LISTS])
    return Variant(
        name=name,
        precision="fp32",
        files=context.in_bundle(files),
        batch_invariant=deviation <= BATCH_INVARIANT,
        batch_deviation=deviation,
        readout=readout,
        calibration=calibration,
    )


def _gate_report(context: ExportContext, verdicts: Mapping[str, Verdict], written: set[str]) -> dict[str, Any]:
    """What the manifest says of the gate as a whole; the figures of a written variant stand with the variant."""
    if not verdicts:
        return {"forced": False, "reason": "no quantized variant was asked for"}
    limits, lists = context.config.gate, context.sample.lists
    return {
        "forced": any(not verdict.passed and name in written for name, verdict in verdicts.items()),
        "limits": {
            "auc_change": limits.auc_change,
            "ndcg_kept": limits.ndcg_kept,
            "overlap": limits.overlap,
            "error": limits.error,
        },
        "lists": len(lists),
        "pairs": int(sum(len(row.items) for row in lists)),
        "refused": {name: verdict.to_json() for name, verdict in verdicts.items() if name not in written},
    }
