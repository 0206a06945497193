"""From a verified bundle to an engine that runs.

1. The settings to try follow from what was asked and from the machine's profile (see `choices`).
2. Every graph of a setting's variant is opened; if one fails, those before it are closed.
3. Only under ``auto`` does a provider that will not run make room for the next one, and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from onyxrank.architectures.base import DEFAULT_CACHE_BYTES
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.opening import Bundle
from onyxrank.errors import ProviderUnavailable
from onyxrank.loading.choices import Choice, choices_of
from onyxrank.loading.engine import Engine
from onyxrank.loading.options import LoadOptions
from onyxrank.loading.parts import load_encoder, open_sessions
from onyxrank.loading.profile import find_profile
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import machine_family, usable_cpus
from onyxrank.request.item_tokens import ItemTokens
from onyxrank.scheduling.scheduler import DEFAULT_QUEUE_TOKENS, Scheduler
from onyxrank.sessions.session import Session


def load_engine(bundle: Bundle, options: LoadOptions) -> Engine:
    """Open what a bundle's variant needs on this machine.

    Raises:
        InvalidInput: if there is no such provider or variant.
        BundleError: if the tokenizer, a graph or a profile cannot be loaded.
        ProviderUnavailable: if the provider asked for by name does not really run.

    """
    family = machine_family()
    encoder = load_encoder(bundle, ItemTokens(options.item_cache_bytes) if options.item_cache_bytes else None)
    found = find_profile(bundle, options.profile)
    choices, notes = choices_of(bundle, options, found.profile, family)
    for choice in choices:
        try:
            sessions = open_sessions(bundle, choice.variant, choice.setting)
        except ProviderUnavailable as error:
            if choice is choices[-1]:
                raise
            notes.append(f"{choice.provider.name}: {error}")
            continue
        facts = _facts(bundle, options, choice, sessions) | found.facts(used=choice.tuned)
        facts |= {"provider_notes": notes, "cpus": usable_cpus(), "machine_family": family}
        scheduler = assemble(bundle, sessions, choice.setting, options.history_cache_bytes, options.queue_tokens)
        return Engine(encoder, scheduler, facts)
    raise ProviderUnavailable("this onnxruntime offers no provider that onyxrank knows; reinstall onnxruntime")


def assemble(
    bundle: Bundle,
    sessions: Mapping[str, Session],
    setting: Setting,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    queue_tokens: int = DEFAULT_QUEUE_TOKENS,
) -> Scheduler:
    """Put a bundle's open sessions, by role, together."""
    manifest = bundle.manifest
    limits = BatchLimits(micro_batch_tokens=setting.micro_batch_tokens, at_once=setting.sessions)
    architecture = ARCHITECTURES[manifest.architecture](
        sessions, manifest.head, limits, bundle.pad_id(), cache_bytes=cache_bytes
    )
    return Scheduler(architecture, setting.sessions, queue_tokens)


def _facts(
    bundle: Bundle, options: LoadOptions, choice: Choice, sessions: Mapping[str, Session]
) -> dict[str, object]:
    """What `Ranker.info` says of the choice. Of several graphs the last one speaks: the one that scores the items."""
    running = [session.info() for session in sessions.values()][-1:]
    return {
        "bundle": str(bundle.folder.resolve()),
        "architecture": bundle.manifest.architecture,
        **asdict(choice.setting),
        "variant_reason": choice.reason,
        "precision": choice.variant.precision,
        "batch_invariant": choice.variant.batch_invariant,
        "provider_asked": options.provider,
        "session_providers": [provider for info in running for provider in info.providers],
        "session_options": {name: value for info in running for name, value in info.options.items()},
        "onnxruntime_version": running[0].onnxruntime_version if running else None,
        "limits": asdict(bundle.manifest.limits),
    }
