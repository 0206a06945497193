"""The variants below fp32: their graphs are made, checked and judged by the gate, and what fails is left out.

1. fp32 scores held-out lists, as many as are asked for: what every variant is compared with.
2. For int8, outlier channels are smoothed once; each scheme then quantizes the smoothed graphs. Every large product
   must have become uint8 × int8.
3. The gate compares each scheme's margins with those of fp32, on more lists as long as it is undecided. Graphs that
do
   not pass are deleted. Of those that pass, the readout is fitted on the same lists.
4. If a precision that was asked for has nothing left, the export ends. int8 that nobody asked for by name is left out
   where too few lists decide; that is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from onyxrank.bundle.entries import Variant
from onyxrank.errors import NonFiniteScore
from onyxrank.measure.invariance import BATCH_INVARIANT, batch_deviation
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.sessions.arrays import Feeds
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import candidates
from onyxrank_export.conversion.architectures import Files
from onyxrank_export.conversion.errors import GateRefused
from onyxrank_export.conversion.export_config import covers
from onyxrank_export.conversion.export_context import READOUT_LISTS, ExportContext
from onyxrank_export.conversion.gate import REFUSED, UNDECIDED, Margins, Scoring, Verdict, judge, no_scores
from onyxrank_export.conversion.kernels import check_int8
from onyxrank_export.conversion.quantize import BFLOAT16, HALF, SCHEMES, Scheme, quantize
from onyxrank_export.conversion.sequential import errors, looks
from onyxrank_export.conversion.smoothing import smooth

_DEVIATION_LISTS = 4


def check_computable(precisions: Sequence[str]) -> None:
    """Make sure that this machine can compute, and so judge, what is asked for.

    Raises:
        ProviderUnavailable: if bf16 was asked for and its provider does not run here.

    """
    if BFLOAT16.precision in precisions:
        candidates(BFLOAT16.provider, offered_providers(BFLOAT16.provider))


def quantized_variants(
    context: ExportContext,
    precisions: Sequence[str],
    source: Files,
    calibration: Sequence[EncodedRequest],
    expected: Scoring,
) -> tuple[list[Variant], dict[str, Verdict]]:
    """Make, check and judge the variants of some precisions.

    Args:
        context: of the export.
        precisions: of `PRECISIONS`, without fp32.
        source: the fp32 graphs to quantize, by role.
        calibration: training pairs to find the ranges of activations on.
        expected: the margins of the fp32 graphs.

    Returns:
        The variants to write, and the gate's verdict on every scheme by name.

    Raises:
        ExportError: if a product did not become int8.
        GateRefused: if nothing of a precision passed.

    """
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
        judged = _judge(context, scheme, files, expected)
        verdict = verdicts[scheme.name] = judged.verdict
        if judged.written:
            passed.append(_variant(context, scheme, files, judged))
        else:
            context.say(f"{verdict.outcome} {scheme.name}, {verdict.lists} lists: {'; '.join(verdict.reasons)}")
            for path in files.values() if files is not source else ():
                path.unlink()
    for path in smoothed.values():
        path.unlink()
    for asked in precisions:
        if not any(covers(asked, variant.precision) for variant in passed):
            refusal = _refusal(context, asked, verdicts)
            if context.config.precisions is not None or REFUSED in (each.outcome for each in verdicts.values()):
                raise refusal
            context.say(f"{asked} is left out: {refusal.surer}")
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


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is known of a scheme's graphs when the gate has seen them.

    Attributes:
        verdict: the gate's.
        written: whether the graphs go into the bundle.
        margins: what they gave the first held-out lists, for the readout.
        batch_deviation: largest difference of an item's probability when it is scored alone and in its list.

    """

    verdict: Verdict
    written: bool = False
    margins: Margins = field(default_factory=list)
    batch_deviation: float = math.nan


def _judge(context: ExportContext, scheme: Scheme, files: Files, expected: Scoring) -> _Judged:
    """Look at growing numbers of lists, until the gate is decided or there are no more."""
    sample, config = context.sample, context.config
    most = len(sample.lists)
    with context.opened(files, provider=scheme.provider, exact_sums=not scheme.reduce_range) as architecture:
        scoring = Scoring(architecture, sample, context.progress)
        try:
            for look, error in zip(looks(most), errors(most, config.gate.error), strict=True):
                context.say(f"gate: {scheme.name} beside fp32 on {look} held-out lists")
                verdict = judge(scoring.first(look), expected.first(look), sample, config.gate, error)
                if verdict.outcome != UNDECIDED:
                    break
            written = verdict.passed or (config.force and verdict.numbers)
            margins = scoring.first(max(READOUT_LISTS, scoring.scored)) if written else []
            return _Judged(
                verdict, written, margins, batch_deviation(architecture, sample.requests[:_DEVIATION_LISTS])
            )
        except NonFiniteScore:
            return _Judged(no_scores(scoring.scored, config.gate))


def _variant(context: ExportContext, scheme: Scheme, files: Files, judged: _Judged) -> Variant:
    readout, calibration = context.readout(judged.margins)
    return Variant(
        name=scheme.name,
        precision=scheme.precision,
        files=context.in_bundle(files),
        machines=scheme.machines,
        batch_invariant=judged.batch_deviation <= BATCH_INVARIANT,
        batch_deviation=judged.batch_deviation,
        gate=judged.verdict.to_json(),
        readout=readout,
        calibration=calibration,
    )


def _refusal(context: ExportContext, asked: str, verdicts: Mapping[str, Verdict]) -> GateRefused:
    """The error that names every reason and how the gate could be surer."""
    lists = len(context.sample.lists)
    undecided = [verdict for verdict in verdicts.values() if verdict.outcome == UNDECIDED]
    if not undecided:
        surer = "train longer"
    else:
        most = max((verdict.needed or 0 for verdict in undecided), default=0)
        about = f" (about {most:,} would decide)" if most else ""
        all_there_are = lists < context.config.gate_lists
        surer = (
            f"bring more data: the {lists} held-out lists it judged on are all there are{about}"
            if all_there_are
            else f"judge on more than {lists} lists with --gate-lists{about}"
        )
    word = "is undecided on" if len(undecided) == len(verdicts) else "refused"
    reasons = [f"{name} {verdict.outcome}: {', '.join(verdict.reasons)}" for name, verdict in verdicts.items()]
    return GateRefused(
        f"the quality gate {word} {asked} ({'; '.join(reasons)}); no bundle was written. Export fp32 "
        f"alone with --precision fp32, {surer}, or write it with --force",
        surer,
    )
