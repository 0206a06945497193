"""The engine as ways of a benchmark: variant by variant, and as the machine's profile says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from onyxrank.bundle.opening import Bundle
from onyxrank.errors import InvalidInput
from onyxrank.loading.profile import AUTO_PROFILE, find_profile
from onyxrank.machine.cpus import machine_family
from onyxrank.measure.ways import EngineWay, Way
from onyxrank.ranker import Ranker
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import candidates

TUNED = "tuned"
"""Name of the way that runs with this machine's profile."""


def machine_variants(bundle: Bundle, provider: str) -> tuple[str, ...]:
    """Names of the variants that were made for this machine's family and for a provider; others must be named.

    Raises:
        InvalidInput: if there is no such provider.
        ProviderUnavailable: if this onnxruntime does not offer it.

    """
    family = machine_family()
    best = candidates(provider, offered_providers(provider))[0]
    return tuple(
        variant.name
        for variant in bundle.manifest.variants
        if variant.runs_on(family) and best.takes(variant.precision)
    )


def engine_ways(
    bundle: Bundle,
    names: Iterable[str],
    *,
    provider: str,
    threads: int,
    micro_batch_tokens: int | None,
    prefix: str = "",
) -> Iterator[Way]:
    """Load the engine with one variant after the other, each when it is asked for.

    Args:
        bundle: whose variants.
        names: of the variants.
        provider: execution provider.
        threads: CPU threads.
        micro_batch_tokens: the architecture's default if None.
        prefix: of the ways' names.

    """
    for name in names:
        yield EngineWay.load(
            bundle.folder,
            name,
            provider=provider,
            threads=threads,
            micro_batch_tokens=micro_batch_tokens,
            name=prefix + name,
        )


def tuned_way(bundle: Bundle, *, prefix: str = "") -> Iterator[Way]:
    """Load the engine as this machine's profile says, if there is one and its provider starts."""
    if find_profile(bundle, AUTO_PROFILE).profile is None:
        return
    ranker = Ranker.load(bundle.folder, history_cache_bytes=0, item_cache_bytes=0)
    if ranker.info()["profile"] is None:
        ranker.close()
        return
    yield EngineWay(ranker, prefix + TUNED)


def prefixes(bundles: Sequence[Bundle]) -> list[str]:
    """What tells the ways of several bundles apart: the architecture, or the folder's name where that is the same."""
    if len(bundles) == 1:
        return [""]
    names = [bundle.manifest.architecture for bundle in bundles]
    if len(set(names)) < len(names):
        names = [bundle.folder.resolve().name for bundle in bundles]
    if len(set(names)) < len(names):
        raise InvalidInput("give the bundles folders of different names, to tell them apart", field="beside")
    return [f"{name} " for name in names]
