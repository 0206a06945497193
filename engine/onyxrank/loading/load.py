"""Loads a verified bundle: chooses a setting that runs on this machine, and makes an engine of it.

1. The settings to try follow from what the caller asked for and from the machine's profile (see `choices`).
2. Every graph of a setting's variant is opened. If one fails, those that were opened before it are closed.
3. If a provider does not run, the next setting is tried and the reason is kept as a note. Only where the provider is
   ``auto`` is there a next setting.
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
    """Load a bundle with the first setting that runs on this machine.

    Args:
        bundle: the verified bundle.
        options: what the caller asked for.

    Raises:
        InvalidInput: if there is no provider or variant of the name that was asked for.
        BundleError: if the tokenizer, a graph or a profile cannot be loaded.
        ProviderUnavailable: if the provider that was asked for by name does not really run, or under ``auto`` none.

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
    """Make a scheduler with a bundle's architecture on open sessions.

    Args:
        bundle: the bundle.
        sessions: the open graphs of one variant, by role; they are closed with the scheduler, or if this fails.
        setting: the setting that the sessions were opened with.
        cache_bytes: most bytes of states to keep between requests.
        queue_tokens: number of tokens from which on the queue is full.

    """
    manifest = bundle.manifest
    variant = manifest.variant(setting.variant)
    limits = BatchLimits(
        micro_batch_tokens=setting.micro_batch_tokens, at_once=setting.sessions, shared=variant.batch_invariant
    )
    kind = ARCHITECTURES[manifest.architecture]
    try:
        architecture = kind(
            sessions,
            manifest.head,
            limits,
            bundle.pad_id(),
            cache_bytes=cache_bytes,
            readout=variant.readout,
            **kind.read_parts(bundle.folder),
        )
    except BaseException:
        for session in sessions.values():
            session.close()
        raise
    return Scheduler(architecture, setting.sessions, queue_tokens)


def _facts(
    bundle: Bundle, options: LoadOptions, choice: Choice, sessions: Mapping[str, Session]
) -> dict[str, object]:
    """Report the choice and what really runs, for `Ranker.info`.

    Where there are several graphs, the providers and session options are those of the last one, which scores items.
    """
    running = [session.info() for session in sessions.values()][-1:]
    return {
        "bundle": str(bundle.folder.resolve()),
        "architecture": bundle.manifest.architecture,
        **asdict(choice.setting),
        "variant_reason": choice.reason,
        "precision": choice.variant.precision,
        "batch_invariant": choice.variant.batch_invariant,
        "readout": {"kind": choice.variant.readout.kind, **choice.variant.readout.to_json()},
        "provider_asked": options.provider,
        "session_providers": [provider for info in running for provider in info.providers],
        "session_nodes": {name: count for info in running for name, count in info.nodes.items()},
        "session_options": {name: value for info in running for name, value in info.options.items()},
        "onnxruntime_version": running[0].onnxruntime_version if running else None,
        "limits": asdict(bundle.manifest.limits),
    }
