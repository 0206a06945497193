"""Lists the settings that are worth measuring on a machine: all combinations of the following.

1. Variants: those that `Ranker.load` may take unasked. So there is none that the quality gate refused, none that was
   made for another machine family, and none whose scores depend on the other items of the list.
2. Providers: those that really run on this machine.
3. Layouts of the CPUs: one run at a time on all CPUs, or several runs at once, each on an equal share of them. Where
   cores have two CPUs, the same layouts with one thread for each core follow.
4. Micro-batches: from a quarter to four times the size that is fast on most machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from onyxrank.architectures.base import Layout
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.entries import Variant
from onyxrank.bundle.manifest import Manifest
from onyxrank.errors import ProviderUnavailable
from onyxrank.loading.setting import Setting
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import PROVIDERS, Provider, candidates

Target = Literal["latency", "throughput"]
TARGETS: tuple[Target, ...] = ("latency", "throughput")
_MICRO_BATCH_FACTORS = (0.25, 0.5, 1, 2, 4)
"""Sizes of a micro-batch on the CPU, as multiples of the architecture's default."""
_GPU_MICRO_BATCHES = (4096, 16384, 65536)
"""Sizes of a micro-batch on a GPU, in tokens: its many units need far more rows than a CPU to be kept busy."""


def layouts(cpus: int, cores: int) -> list[Layout]:
    """List the layouts that use every CPU, the default one first, and then those with one thread for each core."""
    found: list[Layout] = []
    for count in dict.fromkeys((cpus, cores)):
        shares = [share for share in (1, 2, 4, 8, 16, 32, 64) if share < count and count % share == 0]
        found += [Layout(count // share, share) for share in (*shares, count)]
    return found


def allowed_variants(manifest: Manifest, provider: Provider, family: str) -> list[Variant]:
    """List the variants that may be chosen on a provider and a machine family."""
    return [variant for variant in manifest.unasked(family) if provider.takes(variant.precision)]


def running_providers(names: Sequence[str] | None) -> tuple[list[Provider], dict[str, str]]:
    """Find the providers that run here.

    Args:
        names: public names of the only providers to look at, or None for all.

    Returns:
        The providers that run, and the reasons why the others do not, by their names.

    Raises:
        InvalidInput: if there is no provider of a name.
        ProviderUnavailable: if a provider in `names` does not run here.

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


def setting_groups(
    manifest: Manifest, providers: Iterable[Provider], family: str, cpus: int, cores: int
) -> list[list[Setting]]:
    """List the settings to measure in one group for each variant on each provider, the default setting first."""
    return [
        settings_of(variant.name, manifest.architecture, provider, cpus, cores)
        for provider in providers
        for variant in allowed_variants(manifest, provider, family)
    ]


def settings_of(variant: str, architecture: str, provider: Provider, cpus: int, cores: int) -> list[Setting]:
    """List a variant's settings on a provider: all layouts with all micro-batches, the defaults first."""
    default = ARCHITECTURES[architecture].default_micro_batch_tokens
    on_cpu = provider.name == "cpu" or provider.plugin
    sizes = [int(default * factor) for factor in _MICRO_BATCH_FACTORS] if on_cpu else list(_GPU_MICRO_BATCHES)
    sizes.sort(key=lambda tokens: tokens != default)
    return [
        Setting(
            variant=variant,
            provider=provider.name,
            threads=layout.threads,
            sessions=layout.sessions,
            micro_batch_tokens=tokens,
        )
        for layout in (layouts(cpus, cores) if on_cpu else [Layout(1)])
        for tokens in sizes
    ]
