"""One workload on this machine, every way beside the others: the engine's variants and eager PyTorch.

1. The ways are loaded one after the other; what each adds to this process's memory is noted.
2. Each scores the request; how far it is from the first fp32 way of its bundle is noted, so that no figure goes
   unseen that is of a model that answers something else.
3. The ways are measured in turn, from texts to a sorted ranking.
4. Several callers then ask the engine's ways at once.
5. Speed is given against eager PyTorch in sorted batches, fp32, of the same rounds, for what ran on the CPUs too.
6. The report says whether other processes took the CPUs meanwhile; see `load` for what that does to PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from onyxrank.bundle.opening import open_bundle
from onyxrank.errors import InvalidInput
from onyxrank.loading.parts import load_encoder
from onyxrank.machine.cpus import describe, usable_cpus
from onyxrank.machine.fingerprint import installed_versions
from onyxrank.measure.engine_ways import engine_ways, machine_variants, prefixes, tuned_way
from onyxrank.measure.latency import Samples, interleave
from onyxrank.measure.load import CpuTimes, is_crowded, other_cpus
from onyxrank.measure.memory import current_bytes, peak_bytes, reset_peak
from onyxrank.measure.peak import PeakFactory
from onyxrank.measure.report import BenchReport, Shares, WayReport
from onyxrank.measure.requests import Pool, Request, Size, Workload, make_request
from onyxrank.measure.throughput import measure_throughput
from onyxrank.measure.ways import BATCHES, EagerFactory, EngineWay, Say, Way
from onyxrank.sessions.providers import AUTO, PROVIDERS

EAGER_REFERENCE = BATCHES
"""Name of the way that speed is given against."""
_AT_ONCE = 0.05
"""Of the budget, for the callers at once of one way."""
_VERSIONED = ("onyxrank", "onnxruntime", "numpy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Entrant:
    """A way and what it is given.

    Attributes:
        way: the way.
        request: what it ranks.
        times: for how many such requests, one after the other, its figure stands.
        note: what a reader of the figure must know.

    """

    way: Way
    request: Request
    times: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True)
class LoadedWay:
    """A way that is ready, and what was seen while it got ready.

    Attributes:
        way: the way.
        added_memory_bytes: what it added to the process at the peak; None where the system does not tell.
        score_difference: largest difference of a probability from the first fp32 way of the same bundle; None where
            there is none.

    """

    way: Way
    added_memory_bytes: int | None
    score_difference: float | None


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

    Where `onyxrank tune` has left a profile of this machine, its setting is measured too, as the way ``tuned``,
    unless variants, provider, threads or micro-batch are chosen here.

    Args:
        bundle: the folder.
        workload: the size of the request.
        repeats: most measured runs per way.
        budget_s: seconds of measuring after which no further round is begun; loading comes on top, and a twentieth
            for each of the engine's ways, in which several callers ask at once.
        variants: the variants to measure; None for all that were made for this machine.
        provider: execution provider of the engine.
        threads: CPU threads of every way; all that this process may use by default.
        micro_batch_tokens: of the engine; its default if None.
        eager: loads the eager PyTorch ways; None measures the engine alone.
        beside: further bundles for the same texts, such as one of another architecture, for the engine alone.
        pool: real texts for the request; it is made of vocabulary words if None.
        seed: of the request.
        peak: measures the machine's matrix products; None leaves the share of them out.
        price: hourly price of the machine, to give costs.
        say: told each step as it begins.

    Raises:
        BundleError: if the bundle is missing or damaged.
        ProviderUnavailable: if the provider does not run.
        InvalidInput: if there is no such variant, the workload is larger than the bundle's limits, or bundles of one
            architecture lie in folders of one name.

    """
    bundles = [open_bundle(folder) for folder in (bundle, *beside)]
    opened = bundles[0]
    request = make_request(opened, workload, pool=pool, seed=seed)
    chosen = variants is not None or threads is not None or micro_batch_tokens is not None or provider != AUTO
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
                () if chosen else tuned_way(one, prefix=prefix),
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
                partial(row.way.rank, request), items=len(request.items), callers=callers, seconds=budget_s * _AT_ONCE
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


def load_ways(ways: Iterable[Way], request: Request, closing: ExitStack, say: Say) -> list[LoadedWay]:
    """Load, prepare and try ways, one after the other.

    Args:
        ways: at least one; loads each when it is asked for the next.
        request: what each is prepared for and scores.
        closing: closes them.
        say: told of each way.

    """
    loaded: list[tuple[Way, int | None, NDArray[np.float32]]] = []
    coming = iter(ways)
    while True:
        before = current_bytes()
        way = next(coming, None)
        if way is None:
            break
        closing.callback(way.close)
        say(f"preparing {way.name}")
        way.prepare(request)
        tells = reset_peak()  # preparing may try settings that need more
        scores = way.score(request)
        peak = peak_bytes()
        added = max(0, peak - before) if tells and peak is not None and before is not None else None
        loaded.append((way, added, scores))

    def bundle_of(way: Way) -> tuple[object, ...]:
        """Of one that names none, the first's: PyTorch runs that."""
        return tuple(way.settings.get(name, loaded[0][0].settings.get(name)) for name in ("architecture", "bundle"))

    expected: dict[object, NDArray[np.float32]] = {}
    for way, _, scores in loaded:
        if way.settings.get("precision") == "fp32":
            expected.setdefault(bundle_of(way), scores)

    def difference(way: Way, scores: NDArray[np.float32]) -> float | None:
        exact = expected.get(bundle_of(way))
        return None if exact is None else float(np.abs(scores - exact).max())

    return [LoadedWay(way, added, difference(way, scores)) for way, added, scores in loaded]


def measure_ways(
    entrants: Sequence[Entrant], *, repeats: int, budget_s: float, warmup: int = 1, least: int = 1
) -> list[WayReport]:
    """Measure prepared ways in turn and report each; see `interleave` for the arguments."""
    runs = {entrant.way.name: partial(entrant.way.rank, entrant.request) for entrant in entrants}
    if len(runs) < len(entrants):
        raise InvalidInput("two ways have the same name", field="ways")
    for entrant in entrants:
        if isinstance(entrant.way, EngineWay):
            entrant.way.timings.clear()
    samples = interleave(runs, repeats=repeats, budget_s=budget_s, warmup=warmup, least=least)
    reference = next((entrant for entrant in entrants if entrant.way.name == EAGER_REFERENCE), None)
    standard = None if reference is None else _median(reference, samples)
    return [_report(entrant, samples, standard) for entrant in entrants]


def versions(*, with_torch: bool) -> dict[str, str]:
    """Versions of the packages that take part; torch and transformers only where they do."""
    return installed_versions(_VERSIONED if with_torch else _VERSIONED[:-2])


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _median(entrant: Entrant, samples: Mapping[str, Samples]) -> float:
    return samples[entrant.way.name].latency(len(entrant.request.items), entrant.times).p50_ms


def _report(entrant: Entrant, samples: Mapping[str, Samples], standard: float | None) -> WayReport:
    way, measured = entrant.way, samples[entrant.way.name]
    latency = measured.latency(len(entrant.request.items), entrant.times)
    shares = None
    if isinstance(way, EngineWay):
        shares = Shares.of(way.timings[-len(measured.seconds) :], sum(measured.seconds))
    compares = PROVIDERS[str(way.settings.get("provider", "cpu"))].on_cpu
    return WayReport(
        name=way.name,
        latency=latency,
        speedup=standard / latency.p50_ms if standard is not None and compares else None,
        settings=dict(way.settings),
        shares=shares,
        note=entrant.note,
    )
