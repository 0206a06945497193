"""From a bundle to the fastest setting on this machine that answers what fp32 answers.

1. The sample is encoded once: tokenizing costs the same under every setting. Lists that are too long for the budget
   are cut, but for a limit on the 99th percentile, which must be of whole ones.
2. A first heat takes each variant on each provider as it is by default, and drops those that are far behind.
3. The race is between all layouts and micro-batches of those that are left. Of micro-batches that are level the
   smallest goes first: other requests wait less long for it, and it needs less memory.
4. The finalists, fastest first, are compared with fp32 on the CPU, three where time allows; the first that agrees,
   and keeps the limit on the 99th percentile if there is one, is chosen. A part of the time is kept for that.
5. Where that sorts out what had won the heats, those that had lost to it race in the time that is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onyxrank.bundle.opening import Bundle
from onyxrank.errors import InvalidInput, OnyxrankError
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.profile import Profile, graphs_of
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import describe, machine_family, usable_cores, usable_cpus
from onyxrank.machine.fingerprint import machine_fingerprint
from onyxrank.measure.latency import TELLS_P99
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.tune.affordable import affordable
from onyxrank.tune.agreement import Agreement
from onyxrank.tune.comparison import Comparison, lists_to_compare, reference_of
from onyxrank.tune.contestants import Contestants
from onyxrank.tune.race import ENOUGH, MARGIN, Result, Standing, race, small_runs_first
from onyxrank.tune.sample import sample_of, spread
from onyxrank.tune.space import TARGETS, Target, heats, running_providers

_RACED, _RACED_LIMITED = 4, 10
"""Requests that race; more with a limit on the 99th percentile, which large ones decide though they are few."""
_FINALISTS = 3
_FIRST_HEAT_SHARE, _SECOND_HEAT_SHARE, _REFERENCE_SHARE = 0.3, 0.75, 0.9
"""Of the budget, at the end of: the first heat, the second, and the scoring of the comparison's lists with fp32."""
_FIRST_HEAT_ROUNDS, _ROUNDS = 3, 15
_FIRST_HEAT_MARGIN = 1.3

Told = Callable[[float, str], None]
"""Hears of the progress: the share of the budget that is used, and what was just done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What to look for.

    Attributes:
        target: ``latency`` of one request at a time, or ``throughput`` of as many callers as there are CPUs.
        p99_ms: milliseconds within which 99 of 100 requests must be scored; no limit if None. Tokenizing, the same
            under every setting, comes on top. It is told from a hundred requests where there is time for so many,
            else from fewer; the report says from how many.
        budget_s: seconds within which to be done. What one run of the slowest setting takes may come on top, and
            what comparing 8 lists with fp32 takes, for each finalist that is refused.
        providers: the only ones to look at; all that run here if None.
        requests: jsonl file of requests; the bundle's sample if None.
        exhaustive: drop nothing, and measure every setting as often: to check the search itself.

    """

    target: Target = "latency"
    p99_ms: float | None = None
    budget_s: float = 120.0
    providers: Sequence[str] | None = None
    requests: Path | None = None
    exhaustive: bool = False

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InvalidInput(f"target must be one of {', '.join(TARGETS)}", field="target")
        for name, value in (("p99_ms", self.p99_ms), ("budget", self.budget_s)):
            if value is not None and not 0 < value < float("inf"):
                raise InvalidInput(f"{name} must be a positive number, not {value}", field=name)


def tune_bundle(bundle: Bundle, options: TuneOptions, told: Told = lambda share, note: None) -> Profile:
    """Measure a bundle's settings on this machine and choose.

    Args:
        bundle: the bundle; nothing is written.
        options: what to look for.
        told: hears of the progress.

    Raises:
        InvalidInput: if the sample cannot be read, or there is no such provider.
        ProviderUnavailable: if a provider that was named does not run here.
        OnyxrankError: if no setting may be chosen; says what was closest.
        KeyboardInterrupt: if interrupted before anything was measured, or for the second time: after the first the
            best so far is compared with fp32 and chosen.

    """
    begun = time.perf_counter()
    requests, source = sample_of(bundle, options.requests)
    encoder = load_encoder(bundle)
    clients = usable_cpus() if options.target == "throughput" else 1
    most = _RACED if options.p99_ms is None else _RACED_LIMITED
    raced = [encoder.encode(each.history, each.items) for each in spread(requests, most)]
    different = len(raced)
    raced *= math.ceil(2 * clients / len(raced)) if clients > 1 else 1
    providers, absent = running_providers(options.providers)
    groups = heats(bundle.manifest, providers, machine_family(), usable_cpus(), usable_cores())
    if not groups:
        raise OnyxrankError(
            "no variant of this bundle may be chosen here: none was made for this machine and is batch-invariant; "
            "`onyxrank inspect` lists them"
        )
    # What is wrong with these is told before anything is measured.
    reference = reference_of(bundle)
    compared = lists_to_compare(bundle, encoder, options.requests)
    with closing(Contestants(bundle, raced, clients)) as contestants:
        if options.p99_ms is None and not options.exhaustive:
            contestants.requests = _affordable(contestants, groups, options.budget_s)
        search = _Search(contestants, options, begun, told)
        result = small_runs_first(search.run(groups))
        comparison = Comparison(
            contestants,
            reference,
            compared,
            begun + options.budget_s * _REFERENCE_SHARE,
            begun + options.budget_s,
        )
        try:
            chosen = _choose(result, comparison, options, told)
            again = _too_early_out(result, chosen, groups, comparison, options)
            if again and comparison.in_time and not result.interrupted:
                result = small_runs_first(search.again(again).after(result))
                chosen = _choose(result, comparison, options, told)
        except KeyboardInterrupt:
            if result.interrupted:
                raise
            result = replace(result, interrupted=True)
            chosen = _choose(result, comparison, options, told)
        if chosen is None:
            raise _none_chosen(result, comparison, options)
    return Profile(
        setting=chosen.setting,
        graphs=graphs_of(bundle, bundle.manifest.variant(chosen.setting.variant)),
        fingerprint=machine_fingerprint(),
        target=options.target,
        report={
            "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "onyxrank_version": version("onyxrank"),
            "machine": describe(),
            "requests": {
                "source": source,
                "raced": [[len(each.history), len(each.items)] for each in contestants.requests],
                "different": different,
                "longest_list": max(len(each.items) for each in raced),
                "compared": comparison.lists,
            },
            "p99_ms": options.p99_ms,
            "budget_s": options.budget_s,
            "seconds": round(time.perf_counter() - begun, 1),
            "interrupted": result.interrupted,
            "providers_absent": absent,
            "settings_failed": {str(setting): reason for setting, reason in result.failed.items()},
            "settings_unmeasured": [str(setting) for setting in result.unmeasured],
            "table": [
                _row(each, contestants.requests, comparison.agreements.get(each.setting)) for each in result.standings
            ],
        },
    )


def _affordable(contestants: Contestants, groups: list[list[Setting]], budget_s: float) -> Sequence[EncodedRequest]:
    """The sample with lists of which every setting can run two in the time of the heats, by the first that runs."""
    turns = 2 * (len(groups) + len(groups[0]))

    def under(setting: Setting) -> Sequence[EncodedRequest]:
        scheduler = contestants.scheduler(setting)
        return affordable(
            contestants.requests, lambda each: scheduler.score([each]), turns, budget_s * _SECOND_HEAT_SHARE
        )

    for group in groups:
        with suppress(OnyxrankError):  # the race tells why it does not run
            return under(group[0])
    return contestants.requests


class _Search:
    """The two heats, in the time there is."""

    def __init__(self, contestants: Contestants, options: TuneOptions, begun: float, told: Told) -> None:
        self._contestants, self._options = contestants, options
        self._begun, self._told = begun, told

    def run(self, groups: list[list[Setting]]) -> Result:
        """Race."""
        exhaustive = self._options.exhaustive
        first = Result()
        if len(groups) > 1 and not exhaustive:
            # Each variant has its turn as long as there is time at all: the fastest may be the last.
            first = self._race(
                [group[0] for group in groups], _FIRST_HEAT_ROUNDS, _FIRST_HEAT_SHARE, _FIRST_HEAT_MARGIN
            )
            ahead = {standing.setting for standing in first.standings if not standing.fate}
            groups = [group for group in groups if group[0] in ahead]
            if first.interrupted or not groups:
                return first
        settings = [setting for group in groups for setting in group]
        if first.standings and time.perf_counter() >= self._begun + self._options.budget_s * _SECOND_HEAT_SHARE:
            return Result(unmeasured=settings).after(first)
        try:
            self._contestants.keep(settings)
            margin = float("inf") if exhaustive else MARGIN
            second = self._race(settings, self._rounds, _SECOND_HEAT_SHARE, margin, _FIRST_HEAT_ROUNDS)
        except KeyboardInterrupt:
            if not first.standings:
                raise
            second = Result(interrupted=True)
        return second.after(first)

    def again(self, settings: Sequence[Setting]) -> Result:
        """Race settings that were out, to the end of the budget; with a limit until each has its percentile."""
        self._contestants.keep(settings)
        margin = MARGIN if self._options.p99_ms is None else float("inf")
        return self._race(settings, self._rounds, 1.0, margin, _FIRST_HEAT_ROUNDS + _ROUNDS)

    @property
    def _rounds(self) -> int:
        """With a limit, as many as tell a 99th percentile, where there is time."""
        if self._options.p99_ms is None:
            return _ROUNDS
        return math.ceil(TELLS_P99 / len(self._contestants.requests))

    def _race(
        self, settings: Sequence[Setting], rounds: int, share: float, margin: float, first_turn: int = 0
    ) -> Result:
        budget = self._options.budget_s

        def hear(standing: Standing) -> None:
            used = (time.perf_counter() - self._begun) / budget
            self._told(min(1.0, used), f"{standing.rounds[-1].wall_s * 1000:.0f} ms {standing.setting}")

        return race(
            self._contestants.runs(settings, first_turn),
            rounds=rounds,
            deadline=self._begun + budget * share,
            first_deadline=self._begun + budget * max(share, _SECOND_HEAT_SHARE),
            margin=margin,
            enough=rounds if self._options.p99_ms is not None else ENOUGH,
            told=hear,
            dropped=self._contestants.release,
        )


def _choose(result: Result, comparison: Comparison, options: TuneOptions, told: Told) -> Standing | None:
    """The fastest that agrees with fp32 and keeps the limit; those behind it are compared while there is time."""
    agreeing: list[Standing] = []
    for standing in result.standings:
        if comparison.refuses(standing.setting):
            continue
        if agreeing and (result.interrupted or not comparison.in_time or len(comparison.agreements) >= _FINALISTS):
            break
        # What is out of the race has run too few requests to tell a 99th percentile from.
        if options.p99_ms is not None and (standing.fate or not _within(standing, options.p99_ms)):
            continue
        told(1.0, "comparing with fp32" + ("; interrupt again to give up" if result.interrupted else ""))
        found = comparison.agreements.get(standing.setting) or comparison.judge(standing.setting)
        if not found.faults:
            agreeing.append(standing)
    return agreeing[0] if agreeing else None


def _within(standing: Standing, p99_ms: float) -> bool:
    return standing.percentile_s(0.99) * 1000 <= p99_ms


def _too_early_out(
    result: Result,
    chosen: Standing | None,
    groups: list[list[Setting]],
    comparison: Comparison,
    options: TuneOptions,
) -> list[Setting]:
    """What lost the race, or had no turn in it, though what it lost to may not be chosen."""
    if chosen is not None:
        return next(group for group in groups if chosen.setting in group) if chosen.fate else []
    if options.p99_ms is None:
        return []
    out = (standing for standing in result.standings if standing.fate and _within(standing, options.p99_ms))
    return [standing.setting for standing in out if not comparison.refuses(standing.setting)]


def _none_chosen(result: Result, comparison: Comparison, options: TuneOptions) -> OnyxrankError:
    """Why: no setting keeps the limit, or those that do disagree with fp32, or nothing runs."""
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


def _row(standing: Standing, raced: Sequence[EncodedRequest], agreement: Agreement | None) -> dict[str, Any]:
    items = sum(len(request.items) for request in raced)
    return {
        **asdict(standing.setting),
        "rounds": len(standing.rounds),
        "requests": len(standing.rounds) * len(raced),
        "request_ms": round(standing.median_s * 1000 / len(raced), 3),
        "best_ms": round(standing.best_s * 1000 / len(raced), 3),
        "p99_ms": round(standing.percentile_s(0.99) * 1000, 3),
        "items_per_s": round(items / standing.median_s, 1),
        "fate": standing.fate,
        "agreement": None if agreement is None else agreement.to_json(),
    }
