"""From a bundle to the fastest setting on this machine that ranks as fp32 does.

1. The sample is encoded once, since tokenizing costs the same under every setting. Lists that are too long for the
   budget are cut, except with a limit on the 99th percentile, which only whole lists can tell.
2. Settings race (`search`): first each variant on each provider with its default setting, then all layouts and
   micro-batches of those that were not far behind. Of micro-batches that are equally fast the smallest goes first:
   other requests wait less long for it, and it needs less memory.
3. The finalists, fastest first, are compared with fp32 on the CPU (`comparison`). The first that agrees, and keeps
   the limit on the 99th percentile if there is one, is chosen (`choice`). A part of the budget is kept for this.
4. If the comparison refuses what won the race, those that had lost to it race once more in the time that is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from onyxrank.bundle.opening import Bundle
from onyxrank.errors import OnyxrankError
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.profile import Profile, graphs_of
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import describe, machine_family, usable_cores, usable_cpus
from onyxrank.machine.fingerprint import machine_fingerprint
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.tune.affordable import affordable
from onyxrank.tune.agreement import Agreement
from onyxrank.tune.choice import choose, dropped_too_early, explain_none
from onyxrank.tune.comparison import Comparison, lists_to_compare, reference_of
from onyxrank.tune.contestants import Contestants
from onyxrank.tune.options import OnProgress, TuneOptions
from onyxrank.tune.race import Standing, small_runs_first
from onyxrank.tune.sample import sample_of, spread
from onyxrank.tune.search import SECOND_RACE_SHARE, Search
from onyxrank.tune.space import running_providers, setting_groups

_RACED, _RACED_LIMITED = 4, 10
"""Requests of the sample that race. With a limit on the 99th percentile there are more of them, since the large
requests, which are few, decide that percentile."""
_REFERENCE_SHARE = 0.9
"""Share of the budget after which fp32 scores no more lists for the comparison."""


def tune_bundle(bundle: Bundle, options: TuneOptions, on_progress: OnProgress = lambda share, note: None) -> Profile:
    """Measure a bundle's settings on this machine and choose one.

    Args:
        bundle: the bundle to tune; nothing is written into it.
        options: what to search for.
        on_progress: called with the share of the budget that is used and a note on what was just done.

    Raises:
        InvalidInput: if the sample cannot be read, or there is no provider of a name.
        ProviderUnavailable: if a provider that was named does not run here.
        OnyxrankError: if no setting may be chosen; the message says which came closest.
        KeyboardInterrupt: if interrupted before anything was measured, or interrupted twice. After one interruption
            the fastest setting so far is still compared with fp32 and chosen.

    """
    begun = time.perf_counter()
    requests, source = sample_of(bundle, options.requests)
    encoder = load_encoder(bundle)
    clients = usable_cpus() if options.target == "throughput" else 1
    most = _RACED if options.p99_ms is None else _RACED_LIMITED
    raced = [encoder.encode(each.history, each.items) for each in spread(requests, most)]
    different = len(raced)
    # Twice as many requests as callers keep every caller busy until near the end of a round.
    raced *= math.ceil(2 * clients / len(raced)) if clients > 1 else 1
    providers, absent = running_providers(options.providers)
    groups = setting_groups(bundle.manifest, providers, machine_family(), usable_cpus(), usable_cores())
    if not groups:
        raise OnyxrankError(
            "no variant of this bundle may be chosen here: none was made for this machine and is batch-invariant; "
            "`onyxrank inspect` lists them"
        )
    # These come before the races, so that what is wrong with them is an error before anything is measured.
    reference = reference_of(bundle)
    compared = lists_to_compare(bundle, encoder, options.requests)
    with closing(Contestants(bundle, raced, clients)) as contestants:
        if options.p99_ms is None and not options.exhaustive:
            contestants.requests = _cut_to_budget(contestants, groups, options.budget_s)
        search = Search(contestants, options, begun, on_progress)
        result = small_runs_first(search.run(groups))
        comparison = Comparison(
            contestants,
            reference,
            compared,
            begun + options.budget_s * _REFERENCE_SHARE,
            begun + options.budget_s,
        )
        try:
            chosen = choose(result, comparison, options, on_progress)
            again = dropped_too_early(result, chosen, groups, comparison, options)
            if again and comparison.in_time and not result.interrupted:
                result = small_runs_first(search.again(again).after(result))
                chosen = choose(result, comparison, options, on_progress)
        except KeyboardInterrupt:
            if result.interrupted:
                raise
            result = replace(result, interrupted=True)
            chosen = choose(result, comparison, options, on_progress)
        if chosen is None:
            raise explain_none(result, comparison, options)
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


def _cut_to_budget(
    contestants: Contestants, groups: list[list[Setting]], budget_s: float
) -> Sequence[EncodedRequest]:
    """Cut the sample's lists to what the races have time for.

    In that time each variant's default setting, and then all settings of one variant, should run the whole sample
    twice. How long that takes is estimated with the first setting that runs. If none does, the lists stay whole.
    """
    turns = 2 * (len(groups) + len(groups[0]))

    def cut_with(setting: Setting) -> Sequence[EncodedRequest]:
        scheduler = contestants.scheduler(setting)
        return affordable(
            contestants.requests, lambda each: scheduler.score([each]), turns, budget_s * SECOND_RACE_SHARE
        )

    for group in groups:
        with suppress(OnyxrankError):  # the race reports why the setting does not run
            return cut_with(group[0])
    return contestants.requests


def _row(standing: Standing, raced: Sequence[EncodedRequest], agreement: Agreement | None) -> dict[str, Any]:
    """Sum up one setting for the report's table, as JSON values."""
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
