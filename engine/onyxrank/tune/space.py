"""The settings worth measuring on a machine.

1. Variants: those that `Ranker.load` may take unasked, so none that the quality gate refused, none made for another
   machine family, and none whose scores depend on the other items of the list.
2. Providers: those that really run here.
3. Layouts of the CPUs: one run on all of them, or several runs at once on a share each; and the same with one thread
   for each core, where cores have two CPUs.
4. Micro-batches: a quarter to four times what is fast on most machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from onyxrank.architectures.base import Layout
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.manifest import Manifest, Variant
from onyxrank.errors import ProviderUnavailable
from onyxrank.loading.setting import Setting
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import PROVIDERS, Provider, candidates

Target = Literal["latency", "throughput"]
TARGETS: tuple[Target, ...] = ("latency", "throughput")
_FACTORS = (0.25, 0.5, 1, 2, 4)
_ON_A_CARD = (4096, 16384, 65536)


def layouts(cpus: int, cores: int) -> list[Layout]:
    """Layouts that use every CPU, the default one first; then those with a thread for every core."""
    found: list[Layout] = []
    for count in dict.fromkeys((cpus, cores)):
        shares = [share for share in (1, 2, 4, 8, 16, 32, 64) if share < count and count % share == 0]
        found += [Layout(count // share, share) for share in (*shares, count)]
    return found


def allowed_variants(manifest: Manifest, provider: Provider, family: str) -> list[Variant]:
    """The variants that may be chosen for a provider."""
    return [variant for variant in manifest.unasked(family) if provider.takes(variant.precision)]


def running_providers(names: Sequence[str] | None) -> tuple[list[Provider], dict[str, str]]:
    """The providers that run here, and why the others do not.

    Args:
        names: the only ones to look at; all if None. One named that does not run is an error.

    Raises:
        InvalidInput: if there is no such name.
        ProviderUnavailable: if one that was named does not run.

    """
    running: list[Provider] = []
    reasons: dict[str, str] = {}
    for name in names or PROVIDERS:
        try:
            running += candidates(name, offered_providers(name))
        except ProviderUnavailable as error:
            if names:
                raise
            reasons[name] = str(error)
    return running, reasons


def heats(
    manifest: Manifest, providers: Iterable[Provider], family: str, cpus: int, cores: int
) -> list[list[Setting]]:
    """Per variant and provider, the settings to measure; the first of each is its default."""
    return [
        settings_of(variant.name, manifest.architecture, provider, cpus, cores)
        for provider in providers
        for variant in allowed_variants(manifest, provider, family)
    ]


def settings_of(variant: str, architecture: str, provider: Provider, cpus: int, cores: int) -> list[Setting]:
    """A variant's layouts and micro-batches on a provider, the default ones first."""
    base = ARCHITECTURES[architecture].default_micro_batch_tokens
    on_cpu = provider.name == "cpu" or provider.plugin
    plans = layouts(cpus, cores) if on_cpu else [Layout(1)]
    tokens = [int(base * factor) for factor in _FACTORS] if on_cpu else list(_ON_A_CARD)
    tokens.sort(key=lambda count: count != base)
    return [
        Setting(
            variant=variant,
            provider=provider.name,
            threads=plan.threads,
            sessions=plan.sessions,
            micro_batch_tokens=count,
        )
        for plan in plans
        for count in tokens
    ]
