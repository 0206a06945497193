"""Loads the engine as ways of a benchmark: one for each variant, and one with the machine's profile."""

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
"""Name of the way that runs with the setting of this machine's profile."""


def machine_variants(bundle: Bundle, provider: str) -> tuple[str, ...]:
    """Name the variants that are measured when the caller names none.

    They are those that were made for this machine's family and may be tried on the provider.

    Args:
        bundle: the bundle that has the variants.
        provider: public name of the execution provider, or ``auto``.

    Raises:
        InvalidInput: if there is no provider of that name.
        ProviderUnavailable: if this onnxruntime does not offer the provider.

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
    """Load the engine with one variant after the other, each when the iterator is asked for it.

    Args:
        bundle: the bundle to load.
        names: names of the variants.
        provider: public name of the execution provider, or ``auto``.
        threads: number of CPU threads that one run uses.
        micro_batch_tokens: most tokens of one run, or None for the architecture's default.
        prefix: text that the ways' names begin with.

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
    """Load the engine with the setting of this machine's profile, if there is one and its provider starts."""
    if find_profile(bundle, AUTO_PROFILE).profile is None:
        return
    ranker = Ranker.load(bundle.folder, history_cache_bytes=0, item_cache_bytes=0)
    if ranker.info()["profile"] is None:
        ranker.close()
        return
    yield EngineWay(ranker, prefix + TUNED)


def prefixes(bundles: Sequence[Bundle]) -> list[str]:
    """Return for each bundle the prefix of its ways' names, by which the ways of several bundles differ.

    The prefix is the architecture's name, or the folder's name if two bundles have the same architecture. A single
    bundle needs none.

    Raises:
        InvalidInput: if two bundles have the same architecture and folders of the same name.

    """
    if len(bundles) == 1:
        return [""]
    names = [bundle.manifest.architecture for bundle in bundles]
    if len(set(names)) < len(names):
        names = [bundle.folder.resolve().name for bundle in bundles]
    if len(set(names)) < len(names):
        raise InvalidInput("give the bundles folders of different names, to tell them apart", field="beside")
    return [f"{name} " for name in names]
