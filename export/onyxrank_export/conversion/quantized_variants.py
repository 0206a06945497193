"""The variants below fp32: their graphs are made, checked and judged by the gate, and what fails is left out.

1. fp32 scores the held-out lists: what every variant is compared with.
2. For int8, outlier channels are smoothed once; each scheme then quantizes the smoothed graphs. Every large product
   must have become uint8 × int8.
3. The gate compares each scheme's scores with those of fp32. Graphs that it refuses are deleted.
4. If a precision that was asked for has nothing left, the export ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import onnx

from onyxrank.bundle.manifest import Variant
from onyxrank.errors import NonFiniteScore
from onyxrank.measure.invariance import BATCH_INVARIANT
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.sessions.arrays import Feeds
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import candidates
from onyxrank_export.conversion.architectures import Files
from onyxrank_export.conversion.errors import GateRefused
from onyxrank_export.conversion.export_config import covers
from onyxrank_export.conversion.export_context import ExportContext
from onyxrank_export.conversion.gate import Scores, Verdict, judge, no_scores, score_sample
from onyxrank_export.conversion.kernels import check_int8
from onyxrank_export.conversion.quantize import BFLOAT16, HALF, SCHEMES, Scheme, quantize
from onyxrank_export.conversion.smoothing import smooth


def check_computable(precisions: Sequence[str]) -> None:
    """Make sure that this machine can compute, and so judge, what is asked for.

    Raises:
        ProviderUnavailable: if bf16 was asked for and its provider does not run here.

    """
    if BFLOAT16.precision in precisions:
        candidates(BFLOAT16.provider, offered_providers(BFLOAT16.provider))


def quantized_variants(
    context: ExportContext, precisions: Sequence[str], source: Files, calibration: Sequence[EncodedRequest]
) -> tuple[list[Variant], dict[str, Verdict]]:
    """Make, check and judge the variants of some precisions.

    Args:
        context: of the export.
        precisions: of `PRECISIONS`, without fp32.
        source: the fp32 graphs to quantize, by role.
        calibration: training pairs to find the ranges of activations on.

    Returns:
        The variants to write, and the gate's verdict on every scheme by name.

    Raises:
        ExportError: if a product did not become int8.
        GateRefused: if nothing of a precision passed.

    """
    context.say(f"gate: scoring {len(context.sample.lists)} held-out lists with fp32")
    # The logits of these graphs are PyTorch's to 1e-4, in less time.
    with context.opened(source) as reference:
        expected = score_sample(reference, context.sample, context.progress)
    schemes = [
        scheme
        for scheme in (*SCHEMES, HALF, BFLOAT16)
        if any(covers(asked, scheme.precision) for asked in precisions)
    ]
    feeds = context.conversion.calibration(source, calibration, context.pad_id)
    smoothed: dict[str, Path] = {}
    if any(scheme in SCHEMES for scheme in schemes):
        smoothed = {role: path.with_name(f"{role}_smoothed.onnx") for role, path in source.items()}
    for role, path in smoothed.items():
        smooth(source[role], path, feeds[role])
    passed: list[Variant] = []
    verdicts: dict[str, Verdict] = {}
    for scheme in schemes:
        files = _write_graphs(context, scheme, source, smoothed, feeds)
        verdict = verdicts[scheme.name] = _judge(context, scheme, files, expected)
        if verdict.passed or (context.config.force and verdict.usable):
            passed.append(_variant(context, scheme, files, verdict))
        else:
            context.say(f"refused {scheme.name}: {'; '.join(verdict.faults)}")
            for path in files.values() if files is not source else ():
                path.unlink()
    for path in smoothed.values():
        path.unlink()
    for asked in precisions:
        if not any(covers(asked, variant.precision) for variant in passed):
            raise _refusal(context, asked, verdicts)
    return passed, verdicts


def _write_graphs(
    context: ExportContext, scheme: Scheme, source: Files, smoothed: Files, feeds: Mapping[str, Iterable[Feeds]]
) -> Files:
    """Write a scheme's graphs; bf16 has none of its own and runs those of fp32."""
    if scheme is BFLOAT16:
        context.say(f"running fp32 on {scheme.provider}")
        return source
    context.say(f"quantizing {scheme.name}")
    files = {role: context.folder / scheme.file(role) for role in source}
    if scheme is HALF:
        context.conversion.halve(source, files)
        return files
    for role, path in files.items():
        quantize(smoothed[role], path, scheme, feeds[role])
        check_int8(onnx.load(path), context.conversion.products[role])
    return files


def _judge(context: ExportContext, scheme: Scheme, files: Files, expected: Scores) -> Verdict:
    with context.opened(files, provider=scheme.provider, exact_sums=not scheme.reduce_range) as architecture:
        try:
            scores = score_sample(architecture, context.sample, context.progress)
            return judge(scores, expected, architecture, context.sample, context.config.gate)
        except NonFiniteScore:
            return no_scores()


def _variant(context: ExportContext, scheme: Scheme, files: Files, verdict: Verdict) -> Variant:
    return Variant(
        name=scheme.name,
        precision=scheme.precision,
        files=context.in_bundle(files),
        machines=scheme.machines,
        batch_invariant=verdict.batch_deviation <= BATCH_INVARIANT,
        batch_deviation=verdict.batch_deviation,
        gate=verdict.to_json(),
    )


def _refusal(context: ExportContext, asked: str, verdicts: Mapping[str, Verdict]) -> GateRefused:
    """The error that names every fault and how the gate could be surer.

    So few lists as some data has differ by more than the limits by chance.
    """
    lists = len(context.sample.lists)
    if lists < context.config.gate_lists:
        surer = f"bring more data (the {lists} held-out lists it judged on are all there are)"
    else:
        surer = f"judge on more than {lists} lists with --gate-lists"
    reasons = [f"{name}: {', '.join(verdict.faults)}" for name, verdict in verdicts.items()]
    return GateRefused(
        f"the quality gate refused {asked} ({'; '.join(reasons)}); no bundle was written. Export fp32 "
        f"alone with --precision fp32, {surer}, or write it with --force"
    )
