"""From a verified bundle to sessions that run.

1. The settings to try follow from what was asked and from the machine's profile, where there is one: the profile's
   first, then a default for each provider. What the caller chose stands in all of them.
2. Every graph of the variant is opened; if one fails, those before it are closed.
3. Only under ``auto`` does a provider that will not run make room for the next one, and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tokenizers import Tokenizer

from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.history_cache import HistoryCache
from onyxrank.architectures.names import HISTORY
from onyxrank.architectures.registry import ARCHITECTURES, build_architecture
from onyxrank.bundle.manifest import Variant
from onyxrank.bundle.opening import Bundle
from onyxrank.bundle.variants import choose_variant
from onyxrank.errors import BundleError, InvalidInput, ProviderUnavailable
from onyxrank.loading.engine import Engine
from onyxrank.loading.options import LoadOptions
from onyxrank.loading.profile import Profile, find_profile
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import MachineFamily, machine_family, usable_cpus
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.item_tokens import ItemTokens
from onyxrank.scheduling.scheduler import DEFAULT_QUEUE_TOKENS, Scheduler
from onyxrank.sessions.ort_session import OrtSession, input_shapes, offered_providers
from onyxrank.sessions.pool import SessionPool
from onyxrank.sessions.providers import AUTO, PROVIDERS, Provider, candidates
from onyxrank.sessions.session import Session
from onyxrank.sessions.shape_buckets import Bucketed, Sizes
from onyxrank.sessions.tensorrt import engine_options


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting to try, and why; `tuned` if it is a profile's."""

    setting: Setting
    variant: Variant
    reason: str
    tuned: bool = False

    @property
    def provider(self) -> Provider:
        """What it runs on."""
        return PROVIDERS[self.setting.provider]


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
    choices, notes = _choices(bundle, options, found.profile, family)
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
        cache = HistoryCache(options.history_cache_bytes)
        return Engine(encoder, assemble(bundle, sessions, choice.setting, cache, options.queue_tokens), facts)
    raise ProviderUnavailable("this onnxruntime offers no provider that onyxrank knows; reinstall onnxruntime")


def assemble(
    bundle: Bundle,
    sessions: Mapping[str, Session],
    setting: Setting,
    cache: HistoryCache,
    queue_tokens: int = DEFAULT_QUEUE_TOKENS,
) -> Scheduler:
    """Put a bundle's open sessions, by role, together."""
    manifest = bundle.manifest
    limits = BatchLimits(micro_batch_tokens=setting.micro_batch_tokens, at_once=setting.sessions)
    architecture = build_architecture(manifest.architecture, manifest.head, sessions, limits, bundle.pad_id(), cache)
    return Scheduler(architecture, setting.sessions, queue_tokens)


def _choices(
    bundle: Bundle, options: LoadOptions, profile: Profile | None, family: MachineFamily
) -> tuple[list[Choice], list[str]]:
    """The settings to try, in order, and why ``auto`` leaves providers out.

    Raises:
        InvalidInput: if there is no such provider or variant.
        BundleError: if there is nothing to try: no variant may be taken unasked.

    """
    choices: list[Choice] = []
    notes: dict[str, str] = {}
    fault: BundleError | None = None
    variant = profile.variant_in(bundle) if profile else None
    # Threads and sessions divide the CPUs together: who gives one of them does not mean a profile's other.
    sessions = options.sessions or 1
    layout = {"threads": options.threads or max(1, usable_cpus() // sessions), "sessions": sessions}
    if profile and variant and options.provider == options.variant == AUTO:
        own: dict[str, Any] = layout if options.threads or options.sessions else {}
        if options.micro_batch_tokens:
            own = own | {"micro_batch_tokens": options.micro_batch_tokens}
        reason = "measured to be the fastest on this machine"
        if own:
            reason += f", but with other {', '.join(own)}"
        choices.append(Choice(replace(profile.setting, **own), variant, reason, True))
    offered = candidates(options.provider, offered_providers(options.provider))
    for provider in offered:
        try:
            chosen = choose_variant(bundle.manifest, options.variant, provider, family)
        except BundleError as error:  # a deployment folder has the one variant that was chosen, for one provider
            fault, notes[provider.name] = error, str(error)
            continue
        setting = Setting(
            variant=chosen.variant.name,
            provider=provider.name,
            **layout,
            micro_batch_tokens=options.batch_limits(bundle.manifest.architecture).micro_batch_tokens,
        )
        choices.append(Choice(setting, chosen.variant, chosen.reason))
    if fault is not None and not choices:
        raise fault
    if options.provider == AUTO:
        notes |= {
            provider.name: "not offered by this onnxruntime"
            for provider in PROVIDERS.values()
            if provider.unasked and provider not in offered
        }
    return choices, [f"{name}: {note}" for name, note in notes.items()]


def load_encoder(bundle: Bundle, cache: ItemTokens | None = None) -> TextEncoder:
    """Load the bundle's tokenizer under the manifest's limits; `cache` is where encoded items are kept, if anywhere.

    Raises:
        BundleError: if the file is not a tokenizer or lacks the special tokens.

    """
    spec = bundle.manifest.tokenizer
    path = bundle.path(spec.file)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(f"tokenizers cannot read {path}; export the bundle again") from error
    try:
        return TextEncoder(
            tokenizer,
            bundle.manifest.limits,
            cls_token=spec.cls_token,
            sep_token=spec.sep_token,
            prefix_safe=spec.prefix_safe,
            cache=cache,
        )
    except InvalidInput as error:
        raise BundleError(f"{path}: {error}; export the bundle again") from error


def open_sessions(bundle: Bundle, variant: Variant, setting: Setting) -> dict[str, Session]:
    """Open every graph of a variant, by role; all or none.

    Raises:
        BundleError: if a graph cannot be loaded.
        ProviderUnavailable: if a session does not really run on the provider.

    """
    provider = PROVIDERS[setting.provider]
    foreign = not variant.runs_on(machine_family())  # asked for by name
    # One session of one thread runs on as many callers' threads as there are.
    copies = setting.sessions if setting.threads > 1 or provider.plugin else 1
    # The rows of a request all wait for its history, so that its one session has the threads that they have together.
    together = max(setting.threads, min(setting.threads * setting.sessions, usable_cpus()))
    opened: list[OrtSession] = []
    sessions: dict[str, Session] = {}
    try:
        for role, graph in ARCHITECTURES[bundle.manifest.architecture].items():
            path = bundle.path(variant.files[role])
            sizes = Sizes.of(role, bundle.manifest.limits, setting.micro_batch_tokens)
            more = {}
            if provider.name == "tensorrt":
                sha256 = bundle.manifest.files[variant.files[role]].sha256
                half = variant.precision == "fp16"
                more = engine_options(
                    input_shapes(path), sizes, setting.micro_batch_tokens, bundle.folder, sha256, half=half
                )
            own: list[Session] = []
            threads, number = (together, 1) if role == HISTORY else (setting.threads, copies)
            for _ in range(number):
                opened.append(OrtSession(path, graph, provider, threads, more, exact_sums=foreign))
                masked = provider.pays_for_shapes and "attention_mask" in graph.inputs
                own.append(Bucketed(opened[-1], graph, sizes) if masked else opened[-1])
            sessions[role] = own[0] if len(own) == 1 else SessionPool(own)
    except BaseException:
        for session in opened:
            session.close()
        raise
    return sessions


def _facts(
    bundle: Bundle, options: LoadOptions, choice: Choice, sessions: Mapping[str, Session]
) -> dict[str, object]:
    running = list(sessions.values())[-1].info()  # of the rows: a history's has the threads of several
    return {
        "bundle": str(bundle.folder.resolve()),
        "architecture": bundle.manifest.architecture,
        **asdict(choice.setting),
        "variant_reason": choice.reason,
        "precision": choice.variant.precision,
        "batch_invariant": choice.variant.batch_invariant,
        "provider_asked": options.provider,
        "session_providers": list(running.providers),
        "session_options": dict(running.options),
        "onnxruntime_version": running.onnxruntime_version,
        "limits": asdict(bundle.manifest.limits),
    }
