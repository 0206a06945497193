"""Measures several ways of ranking one request beside each other: the engine's variants and eager PyTorch.

1. The ways are loaded one after the other (`loaded_ways`), and the memory that each adds to this process is noted.
2. Each way scores the request, and its distance from the first fp32 way of the same bundle is noted, so that a reader
   sees if a figure belongs to a model that gives other answers.
3. The ways are measured in turn, from texts to a sorted ranking.
4. Then several callers at once ask each of the engine's ways.
5. Speed-ups are against eager PyTorch in sorted fp32 batches in the same rounds, and are given only for ways that ran
   on the CPU as it did.
6. The report says whether other processes took the CPUs meanwhile; `load` explains what that does to PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain

from onyxrank.bundle.opening import open_bundle
from onyxrank.errors import InvalidInput
from onyxrank.loading.parts import load_encoder
from onyxrank.machine.cpus import describe, usable_cpus
from onyxrank.machine.fingerprint import installed_versions
from onyxrank.measure.engine_ways import engine_ways, machine_variants, prefixes, tuned_way
from onyxrank.measure.latency import Samples, interleave
from onyxrank.measure.load import CpuTimes, is_crowded, other_cpus
from onyxrank.measure.loaded_ways import load_ways
from onyxrank.measure.memory import peak_bytes
from onyxrank.measure.peak import PeakFactory
from onyxrank.measure.report import BenchReport, Shares, WayReport
from onyxrank.measure.requests import Pool, Request, Size, Workload, make_request
from onyxrank.measure.throughput import measure_throughput
from onyxrank.measure.ways import BATCHES, EagerFactory, EngineWay, Say, Way
from onyxrank.sessions.providers import AUTO, PROVIDERS

EAGER_REFERENCE = BATCHES
"""Name of the way against which speed-ups are given."""
_AT_ONCE_SHARE = 0.05
"""Share of the budget in which several callers at once ask one of the engine's ways."""
_VERSIONED = ("onyxrank", "onnxruntime", "numpy", "tokenizers", "torch", "transformers")
"""Packages whose versions the report states; the last two take part only with eager PyTorch."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A way and the request that it is to rank.

    Attributes:
        way: the way.
        request: the request that it ranks.
        times: number of such requests, one after the other, for which the measured time is to stand. It is more than
            1 for a way that is too slow to run on the whole list.
        note: what a reader of the figures must know; empty if nothing.

    """

    way: Way
    request: Request
    times: int = 1
    note: str = ""


def bench_bundle(
    bundle: str | os.PathLike[str],
    *,
    workload: Workload,
    repeats: int = 20,
    budget_s: float = 60.0,
    variants: Sequence[str] | None = None,
    provider: str = "auto",
    threads: int | None = None,
    micro_batch_tokens: int | None = None,
    eager: EagerFactory | None = None,
    beside: Sequence[str | os.PathLike[str]] = (),
    pool: Pool | None = None,
    seed: int = 0,
    peak: PeakFactory | None = None,
    price: float | None = None,
    say: Say = lambda _: None,
) -> BenchReport:
    """Measure a bundle on this machine.

    If `onyxrank tune` has left a profile of this machine, its setting is measured too, as the way ``tuned``. It is
    left out if variants, provider, threads or micro-batch are chosen here.

    Args:
        bundle: the bundle's folder.
        workload: the size of the request.
        repeats: most measured runs of each way.
        budget_s: seconds of measuring after which no further round is begun. Loading comes on top, and so does a
            twentieth of the budget for each of the engine's ways, in which several callers at once ask it.
        variants: names of the variants to measure, or None for all that were made for this machine.
        provider: public name of the engine's execution provider, or ``auto``.
        threads: number of CPU threads that every way uses, or None for all that this process may use.
        micro_batch_tokens: most tokens of one of the engine's runs, or None for the architecture's default.
        eager: function that loads the eager PyTorch ways, or None to measure the engine alone.
        beside: folders of further bundles to measure with the same texts, such as one of another architecture; only
            the engine runs them.
        pool: real texts to make the request of, or None to make it of words of the vocabulary.
        seed: seed for making the request.
        peak: function that measures the peak of the machine's matrix products, or None to leave the shares of it out.
        price: price of the machine an hour, or None for no costs.
        say: function that is called with a sentence about each step as it begins.

    Raises:
        BundleError: if a bundle is missing or damaged.
        ProviderUnavailable: if the provider does not run.
        InvalidInput: if there is no variant of a name, the workload is larger than the bundle's limits, or two
            bundles of one architecture lie in folders of the same name.

    """
    bundles = [open_bundle(folder) for folder in (bundle, *beside)]
    opened = bundles[0]
    request = make_request(opened, workload, pool=pool, seed=seed)
    by_hand = variants is not None or threads is not None or micro_batch_tokens is not None or provider != AUTO
    threads = threads or usable_cpus()
    names = machine_variants(opened, provider) if variants is None else tuple(dict.fromkeys(variants))
    if not names:
        raise InvalidInput("name at least one variant to measure", field="variants")
    labels = prefixes(bundles)
    before = CpuTimes.now()
    with ExitStack() as closing:
        engine = chain.from_iterable(
            chain(
                engine_ways(
                    one,
                    names if one is opened else machine_variants(one, provider),
                    provider=provider,
                    threads=threads,
                    micro_batch_tokens=micro_batch_tokens,
                    prefix=prefix,
                ),
                () if by_hand else tuned_way(one, prefix=prefix),
            )
            for one, prefix in zip(bundles, labels, strict=True)
        )
        pytorch = eager(opened.folder, threads, say) if eager else iter(())
        loaded = load_ways(chain(engine, pytorch), request, closing, say)
        say(f"measuring {len(loaded)} ways in turn, up to {repeats} times or {budget_s:g} s")
        reports = measure_ways([Entrant(row.way, request) for row in loaded], repeats=repeats, budget_s=budget_s)
        callers = max(2, threads)
        at_once = {
            row.way.name: measure_throughput(
                partial(row.way.rank, request),
                items=len(request.items),
                callers=callers,
                seconds=budget_s * _AT_ONCE_SHARE,
            )
            for row in loaded
            if isinstance(row.way, EngineWay)
        }
        others = other_cpus(before, CpuTimes.now())
        measured = peak(threads) if peak else None
    crowded = is_crowded(others, threads)
    if crowded:
        say(f"other processes kept {others:.1f} CPUs busy meanwhile: these figures compare nothing; measure again")
    return BenchReport(
        workload=workload,
        size=Size.of(load_encoder(opened).encode(request.history, request.items)),
        ways=tuple(
            replace(
                report,
                added_memory_bytes=row.added_memory_bytes,
                score_difference=row.score_difference,
                throughput=at_once.get(report.name),
                share_of_peak=measured.share(report, bundles, request) if measured else None,
            )
            for report, row in zip(reports, loaded, strict=True)
        ),
        other_cpus=others,
        crowded=crowded,
        peak_memory_bytes=peak_bytes(),
        machine=describe(),
        versions=versions(with_torch=eager is not None),
        settings={
            "bundle": str(opened.folder.resolve()),
            "threads": threads,
            "repeats_asked": repeats,
            "budget_s": budget_s,
            "texts": "real" if pool else "words of the vocabulary",
            "seed": seed,
        },
        measured_at=now(),
        peak_gops=measured.gops if measured else None,
        price=price,
    )


def measure_ways(
    entrants: Sequence[Entrant], *, repeats: int, budget_s: float, warmup: int = 1, least: int = 1
) -> list[WayReport]:
    """Measure prepared ways in turn and report the figures of each.

    Args:
        entrants: the ways, with the request of each.
        repeats: most measured runs of each way.
        budget_s: seconds after which no further round is begun.
        warmup: unmeasured runs of each way before the first round.
        least: number of rounds that run whatever the budget is.

    Raises:
        InvalidInput: if two ways have the same name.

    """
    runs = {entrant.way.name: partial(entrant.way.rank, entrant.request) for entrant in entrants}
    if len(runs) < len(entrants):
        raise InvalidInput("two ways have the same name", field="ways")
    for entrant in entrants:
        if isinstance(entrant.way, EngineWay):
            entrant.way.timings.clear()
    samples = interleave(runs, repeats=repeats, budget_s=budget_s, warmup=warmup, least=least)
    reference = next((entrant for entrant in entrants if entrant.way.name == EAGER_REFERENCE), None)
    reference_ms = None if reference is None else _median_ms(reference, samples)
    return [_report(entrant, samples, reference_ms) for entrant in entrants]


def versions(*, with_torch: bool) -> dict[str, str]:
    """Return the versions of the packages that take part, by name.

    Args:
        with_torch: whether eager PyTorch takes part, so that the versions of torch and transformers matter.

    """
    return installed_versions(_VERSIONED if with_torch else _VERSIONED[:-2])


def now() -> str:
    """Return the time in UTC, in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _median_ms(entrant: Entrant, samples: Mapping[str, Samples]) -> float:
    return samples[entrant.way.name].latency(len(entrant.request.items), entrant.times).p50_ms


def _report(entrant: Entrant, samples: Mapping[str, Samples], reference_ms: float | None) -> WayReport:
    way, measured = entrant.way, samples[entrant.way.name]
    latency = measured.latency(len(entrant.request.items), entrant.times)
    shares = None
    if isinstance(way, EngineWay):
        shares = Shares.of(way.timings[-len(measured.seconds) :], sum(measured.seconds))
    on_cpu = PROVIDERS[str(way.settings.get("provider", "cpu"))].on_cpu
    return WayReport(
        name=way.name,
        latency=latency,
        speedup=reference_ms / latency.p50_ms if reference_ms is not None and on_cpu else None,
        settings=dict(way.settings),
        shares=shares,
        note=entrant.note,
    )
