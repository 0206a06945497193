"""From a run to a bundle: convert, optimize, quantize, check, write.

1. Load the run's model and the held-out and training pairs it is checked and calibrated on.
2. fp32 through optimum's exporter, and its optimized form; both must give PyTorch's logits.
3. Quantize as asked; of int8, every large product must be uint8 × int8. bf16 is the fp32 graphs, judged on the
   provider that computes them so.
4. The gate compares each of these graphs with fp32 on held-out lists; what fails is left out.
5. Write the bundle. If a precision that was asked for has nothing left, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from onyxrank.architectures.base import Architecture
from onyxrank.bundle.manifest import MANIFEST_NAME, Manifest, TokenizerSpec, Variant
from onyxrank.bundle.writing import file_entries, new_folder, write_manifest
from onyxrank.errors import InvalidInput, NonFiniteScore
from onyxrank.machine.fingerprint import installed_versions
from onyxrank.measure.invariance import BATCH_INVARIANT, batch_deviation
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.truncation import Limits
from onyxrank.sessions.arrays import Feeds
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import candidates
from onyxrank.tune.sample import SAMPLE_FILE, write_requests
from onyxrank_export.conversion.architectures import Files, conversion_of
from onyxrank_export.conversion.errors import ExportError, GateRefused
from onyxrank_export.conversion.gate import (
    GateLimits,
    GateSample,
    Progress,
    Scores,
    Verdict,
    judge,
    no_scores,
    score_sample,
)
from onyxrank_export.conversion.kernels import check_int8
from onyxrank_export.conversion.material import Material, demo_material, material_of
from onyxrank_export.conversion.parity import TOLERANCE
from onyxrank_export.conversion.quantize import BFLOAT16, HALF, RECIPES, Recipe, quantize
from onyxrank_export.conversion.sample import sample_requests
from onyxrank_export.conversion.sessions import opened_architecture
from onyxrank_export.conversion.smoothing import smooth
from onyxrank_export.training.base import (
    Checkpoint,
    UnsuitableModel,
    is_prefix_safe,
    load_checkpoint,
    text_encoder,
)
from onyxrank_export.training.run import Run, read_run, share_mode

_CONVERTERS = ("torch", "transformers", "optimum-onnx", "onnx", "onnxruntime")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8_static", "int8_dynamic")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What to write and how strictly to check it.

    Attributes:
        precisions: of `PRECISIONS`; fp32 is always written. None takes int8 too where there is data to gate it on.
        gate_lists: most held-out lists the gate scores.
        gate: what a quantized variant may lose.
        force: write variants that fail the gate too; the manifest says so.
        overwrite: replace an existing bundle, once the new one is whole.
        limits: of a model that was not trained here; a run brings its own.

    """

    precisions: tuple[str, ...] | None = None
    gate_lists: int = 256
    gate: GateLimits = field(default_factory=GateLimits)
    force: bool = False
    overwrite: bool = False
    limits: Limits | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.precisions or () if name not in PRECISIONS]
        if unknown:
            raise InvalidInput(
                f"no precision {', '.join(unknown)}; choose of {', '.join(PRECISIONS)}", field="precision"
            )
        if self.gate_lists < 1:
            raise InvalidInput("gate_lists must be at least 1", field="gate_lists")

    def quantized(self, *, with_data: bool) -> tuple[str, ...]:
        """The precisions below fp32 that were asked for."""
        asked = self.precisions or (("int8",) if with_data else ())
        return tuple(name for name in asked if name != "fp32")


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
    checkpoint = load_checkpoint(run.folder)
    limits = _limits(run, checkpoint, config)
    encoder = text_encoder(checkpoint.tokenizer, limits)
    material = material_of(run, data, most=config.gate_lists)
    quantized = config.quantized(with_data=material is not None)
    if BFLOAT16.precision in quantized:
        candidates(BFLOAT16.provider, offered_providers(BFLOAT16.provider))
    if material is None:
        if quantized:
            raise ExportError("int8 is calibrated and gated on real pairs: name the data with --data")
        say("no data given: fp32 only, checked on the demo shop's texts (int8 needs --data)")
        material = demo_material(most=config.gate_lists)
    elif quantized and not any(0 < row.labels.mean() < 1 for row in material.held_out):
        raise ExportError("no held-out list has both a purchase and another item: nothing to judge int8 by")
    with new_folder(Path(out), overwrite=config.overwrite) as folder:
        manifest = _Export(folder, run, checkpoint, encoder, material, config, say, progress).write(quantized)
        write_manifest(folder, manifest)
        share_mode(folder / MANIFEST_NAME)
    return manifest


class _Export:
    """One export: the parts its steps share."""

    def __init__(
        self,
        folder: Path,
        run: Run,
        checkpoint: Checkpoint,
        encoder: TextEncoder,
        material: Material,
        config: ExportConfig,
        say: Say,
        progress: Progress,
    ) -> None:
        self._folder, self._run, self._checkpoint, self._encoder = folder, run, checkpoint, encoder
        self._material, self._config, self._say, self._progress = material, config, say, progress
        self._head = "sigmoid" if checkpoint.model.config.num_labels == 1 else "softmax"
        self._pad_id = int(checkpoint.model.config.pad_token_id or 0)
        self._sample = GateSample(material.held_out, [material.encode(encoder, row) for row in material.held_out])
        self._conversion = conversion_of(run.architecture, checkpoint.model, encoder.limits)

    def write(self, quantized: tuple[str, ...]) -> Manifest:
        folder, graphs = self._folder, self._folder / "onnx"
        graphs.mkdir()
        self._checkpoint.model.save_pretrained(folder)
        self._checkpoint.tokenizer.save_pretrained(folder)
        histories = [row.history for row in self._material.held_out]
        write_requests(sample_requests(histories, self._material.items), folder / SAMPLE_FILE)
        self._say("exporting fp32")
        written = self._conversion.write(graphs)
        self._say("checking parity with PyTorch")
        parity = self._conversion.parity(graphs, self._sample.requests[:8], self._pad_id)
        variants = [self._fp32_variant(name, files) for name, files in written.items()]
        verdicts: dict[str, Verdict] = {}
        if quantized:
            variants, verdicts = self._quantized(quantized, next(iter(written.values())), variants)
        return Manifest(
            onyxrank_version=version("onyxrank"),
            architecture=self._run.architecture,
            head=self._head,
            limits=self._encoder.limits,
            tokenizer=TokenizerSpec(
                file="tokenizer.json",
                cls_token=str(self._checkpoint.tokenizer.cls_token),
                sep_token=str(self._checkpoint.tokenizer.sep_token),
                prefix_safe=is_prefix_safe(self._checkpoint.tokenizer),
            ),
            variants=tuple(variants),
            files=file_entries(folder),
            parity={"max_logit_difference": parity, "limit": TOLERANCE, "versions": installed_versions(_CONVERTERS)},
            gate=self._gate_report(verdicts, {variant.name for variant in variants}),
            training=dict(self._run.facts),
        )

    def _quantized(
        self, precisions: tuple[str, ...], source: Files, fp32: list[Variant]
    ) -> tuple[list[Variant], dict[str, Verdict]]:
        """Make, check and judge the quantized graphs; the static ones, which may be loaded unasked, come first."""
        self._say(f"gate: scoring {len(self._sample.lists)} held-out lists with fp32")
        # Its logits are PyTorch's to 1e-4, in less time.
        with self._opened(source) as reference:
            expected = score_sample(reference, self._sample, self._progress)
        passed: list[Variant] = []
        verdicts: dict[str, Verdict] = {}
        recipes = [
            recipe
            for recipe in (*RECIPES, HALF, BFLOAT16)
            if any(_covers(asked, recipe.precision) for asked in precisions)
        ]
        calibration = self._conversion.calibration(source, self._material.calibration(self._encoder), self._pad_id)
        smoothed: dict[str, Path] = {}
        if any(recipe in RECIPES for recipe in recipes):
            smoothed = {role: path.with_name(f"{role}_smoothed.onnx") for role, path in source.items()}
        for role, path in smoothed.items():
            smooth(source[role], path, calibration[role])
        for recipe in recipes:
            files = self._graphs(recipe, source, smoothed, calibration)
            verdict = self._judge(recipe, files, expected)
            verdicts[recipe.name] = verdict
            if verdict.passed or (self._config.force and verdict.usable):
                passed.append(self._quantized_variant(recipe, files, verdict))
            else:
                self._say(f"refused {recipe.name}: {'; '.join(verdict.faults)}")
                for path in files.values() if files is not source else ():
                    path.unlink()
        for path in smoothed.values():
            path.unlink()
        for asked in precisions:
            if not any(_covers(asked, variant.precision) for variant in passed):
                reasons = [f"{name}: {', '.join(verdict.faults)}" for name, verdict in verdicts.items()]
                raise GateRefused(
                    f"the quality gate refused {asked} ({'; '.join(reasons)}); no bundle was written. Export fp32 "
                    f"alone with --precision fp32, {self._surer()}, or write it with --force"
                )
        static = [variant for variant in passed if variant.precision == "int8_static"]
        return [*static, *fp32, *(variant for variant in passed if variant not in static)], verdicts

    def _graphs(
        self, recipe: Recipe, source: Files, smoothed: Files, calibration: Mapping[str, Iterable[Feeds]]
    ) -> Files:
        """Write a recipe's graphs; bf16 runs those of fp32."""
        if recipe is BFLOAT16:
            self._say(f"running fp32 on {recipe.provider}")
            return source
        self._say(f"quantizing {recipe.name}")
        files = {role: self._folder / recipe.file(role) for role in source}
        if recipe is HALF:
            self._conversion.halve(source, files)
            return files
        for role, path in files.items():
            quantize(smoothed[role], path, recipe, calibration[role])
            check_int8(onnx.load(path), self._conversion.products[role])
        return files

    def _surer(self) -> str:
        """How the gate could be surer: so few lists as some data has differ by more than the limits by chance."""
        lists = len(self._sample.lists)
        if lists < self._config.gate_lists:
            return f"bring more data (the {lists} held-out lists it judged on are all there are)"
        return f"judge on more than {lists} lists with --gate-lists"

    def _judge(self, recipe: Recipe, files: Files, expected: Scores) -> Verdict:
        with self._opened(files, provider=recipe.provider, exact_sums=not recipe.reduce_range) as architecture:
            try:
                scores = score_sample(architecture, self._sample, self._progress)
                return judge(scores, expected, architecture, self._sample, self._config.gate)
            except NonFiniteScore:
                return no_scores()

    def _fp32_variant(self, name: str, files: Files) -> Variant:
        with self._opened(files) as architecture:
            deviation = batch_deviation(architecture, self._sample.requests[:2])
        return Variant(
            name=name,
            precision="fp32",
            files=self._relative(files),
            batch_invariant=deviation <= BATCH_INVARIANT,
            batch_deviation=deviation,
        )

    def _quantized_variant(self, recipe: Recipe, files: Files, verdict: Verdict) -> Variant:
        return Variant(
            name=recipe.name,
            precision=recipe.precision,
            files=self._relative(files),
            machines=recipe.machines,
            batch_invariant=verdict.batch_deviation <= BATCH_INVARIANT,
            batch_deviation=verdict.batch_deviation,
            gate=verdict.to_json(),
        )

    def _opened(
        self, files: Files, *, provider: str = "cpu", exact_sums: bool = False
    ) -> AbstractContextManager[Architecture]:
        return opened_architecture(
            self._run.architecture, self._head, files, self._pad_id, provider=provider, exact_sums=exact_sums
        )

    def _relative(self, files: Files) -> dict[str, str]:
        return {role: path.relative_to(self._folder).as_posix() for role, path in files.items()}

    def _gate_report(self, verdicts: Mapping[str, Verdict], written: set[str]) -> dict[str, Any]:
        if not verdicts:
            return {"forced": False, "reason": "no quantized variant was asked for"}
        limits = self._config.gate
        return {
            "forced": any(not verdict.passed and name in written for name, verdict in verdicts.items()),
            "limits": {
                "auc_change": limits.auc_change,
                "ndcg_kept": limits.ndcg_kept,
                "overlap": limits.overlap,
            },
            "lists": len(self._sample.lists),
            "pairs": int(sum(len(row.items) for row in self._sample.lists)),
            "refused": {name: verdict.to_json() for name, verdict in verdicts.items() if name not in written},
        }


def _covers(asked: str, precision: str) -> bool:
    return asked in (precision, precision.partition("_")[0])


def _limits(run: Run, checkpoint: Checkpoint, config: ExportConfig) -> Limits:
    if config.limits is not None and run.data_path is not None and config.limits != run.limits:
        raise ExportError("the token limits are those the run was trained with; leave them out")
    limits = config.limits or run.limits
    positions = getattr(checkpoint.model.config, "max_position_embeddings", limits.sequence_tokens)
    if limits.sequence_tokens > positions:
        raise UnsuitableModel(f"the model has {positions} positions; the limits need {limits.sequence_tokens}")
    return limits
