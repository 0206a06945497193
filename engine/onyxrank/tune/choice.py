"""Chooses among the settings that raced the fastest that agrees with fp32 and keeps the limit on the 99th percentile.

1. The settings are gone through from the fastest to the slowest, and each is compared with fp32.
2. The first that agrees, and keeps the limit if there is one, is chosen. The next ones are still compared while there
   is time, up to three in all, so that the report shows how they would have done.
3. If the fastest settings may not be chosen, those that they had put out of the race deserve another one.
"""

from __future__ import annotations

from onyxrank.errors import OnyxrankError
from onyxrank.loading.setting import Setting
from onyxrank.tune.comparison import Comparison
from onyxrank.tune.options import OnProgress, TuneOptions
from onyxrank.tune.race import Result, Standing

_FINALISTS = 3
"""Settings that are compared with fp32 where time allows; the comparison takes as long as several rounds."""


def choose(result: Result, comparison: Comparison, options: TuneOptions, on_progress: OnProgress) -> Standing | None:
    """Choose the fastest setting that agrees with fp32 and keeps the limit; None if there is none.

    Args:
        result: how the races ended, fastest setting first.
        comparison: what compares settings with fp32; it keeps what it has found.
        options: what to search for.
        on_progress: called before each comparison.

    """
    agreeing: list[Standing] = []
    for standing in result.standings:
        if comparison.refuses(standing.setting):
            continue
        if agreeing and (result.interrupted or not comparison.in_time or len(comparison.agreements) >= _FINALISTS):
            break
        # A setting that was dropped has run too few requests to tell its 99th percentile.
        if options.p99_ms is not None and (standing.fate or not _within(standing, options.p99_ms)):
            continue
        on_progress(1.0, "comparing with fp32" + ("; interrupt again to give up" if result.interrupted else ""))
        found = comparison.agreements.get(standing.setting) or comparison.judge(standing.setting)
        if not found.faults:
            agreeing.append(standing)
    return agreeing[0] if agreeing else None


def dropped_too_early(
    result: Result,
    chosen: Standing | None,
    groups: list[list[Setting]],
    comparison: Comparison,
    options: TuneOptions,
) -> list[Setting]:
    """List the settings that lost the race, or had no turn in it, only against settings that may not be chosen.

    Args:
        result: how the races ended.
        chosen: what `choose` returned.
        groups: the settings of each variant on each provider.
        comparison: what has compared settings with fp32.
        options: what to search for.

    """
    if chosen is not None:
        return next(group for group in groups if chosen.setting in group) if chosen.fate else []
    if options.p99_ms is None:
        return []
    dropped = (standing for standing in result.standings if standing.fate and _within(standing, options.p99_ms))
    return [standing.setting for standing in dropped if not comparison.refuses(standing.setting)]


def explain_none(result: Result, comparison: Comparison, options: TuneOptions) -> OnyxrankError:
    """Make the error that says why no setting was chosen.

    Either no setting keeps the limit, or those that keep it disagree with fp32, or none runs at all.
    """
    if options.p99_ms is not None:
        eligible = [standing for standing in result.standings if not comparison.refuses(standing.setting)]
        missed = [standing for standing in eligible if not _within(standing, options.p99_ms)]
        if len(missed) < len(eligible):
            return OnyxrankError(
                f"there was no time to tell whether a setting answers 99 of 100 requests within {options.p99_ms:g} "
                "ms; give it a larger --budget. No profile was made"
            )
        if missed:
            best = min(missed, key=lambda standing: (bool(standing.fate), standing.percentile_s(0.99)))
            return OnyxrankError(
                f"no setting answers 99 of 100 requests within {options.p99_ms:g} ms; the nearest took "
                f"{best.percentile_s(0.99) * 1000:.1f} ms: {best.setting}. No profile was made"
            )
    faults = "; ".join(f"{setting}: {', '.join(found.faults)}" for setting, found in comparison.agreements.items())
    faults = faults or "; ".join(sorted(set(result.failed.values()))) or "none runs"
    return OnyxrankError(f"no setting may be chosen on this machine ({faults}). No profile was made")


def _within(standing: Standing, p99_ms: float) -> bool:
    return standing.percentile_s(0.99) * 1000 <= p99_ms
