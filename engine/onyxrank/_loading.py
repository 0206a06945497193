"""From a verified bundle to sessions that run.

1. The providers to try follow from what was asked; for each, the variant is chosen.
2. Every graph of the variant is opened; if one fails, those before it are closed.
3. Only under ``auto`` does a provider that will not run make room for the next one, and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tokenizers import Tokenizer

from onyxrank._batching import BatchLimits
from onyxrank._bundle import Bundle
from onyxrank._checks import check_count
from onyxrank._encoding import TextEncoder
from onyxrank._errors import BundleError, InvalidInput, ProviderUnavailable
from onyxrank._graphs import ARCHITECTURES
from onyxrank._history import DEFAULT_CACHE_BYTES, HistoryCache
from onyxrank._machine import machine_family, usable_cpus
from onyxrank._manifest import Variant
from onyxrank._providers import AUTO, PROVIDERS, Provider, candidates
from onyxrank._scoring import Architecture, build_architecture
from onyxrank._session import OrtSession, Session, offered_providers
from onyxrank._variants import VariantChoice, choose_variant

MOST_THREADS = 1024
_TUNE_HINT = "none was found: variant, threads and micro-batch are defaults, not measured on this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What the caller may choose about a ranker.

    Attributes:
        provider: public name of an execution provider, or ``auto``.
        threads: CPU threads of one run; None for all that this process may use.
        profile: ``auto`` or None; there are no profiles yet.
        variant: name of a variant in the bundle, or ``auto``.
        micro_batch_tokens: most tokens of one run, padding included; None for the architecture's default.
        history_cache_bytes: most bytes of histories to keep between requests; 0 for none.

    """

    provider: str = AUTO
    threads: int | None = None
    profile: str | None = "auto"
    variant: str = AUTO
    micro_batch_tokens: int | None = None
    history_cache_bytes: int = DEFAULT_CACHE_BYTES

    def __post_init__(self) -> None:
        for name in ("provider", "variant"):
            if not isinstance(getattr(self, name), str):
                raise InvalidInput(f"{name} must be a name, not {type(getattr(self, name)).__name__}", field=name)
        if self.threads is not None:
            object.__setattr__(self, "threads", check_count(self.threads, "threads"))
            if self.threads > MOST_THREADS:
                raise InvalidInput(f"threads must be at most {MOST_THREADS}, not {self.threads}", field="threads")
        if self.micro_batch_tokens is not None:
            BatchLimits(micro_batch_tokens=self.micro_batch_tokens)
        cache_bytes = check_count(self.history_cache_bytes, "history_cache_bytes", least=0)
        object.__setattr__(self, "history_cache_bytes", cache_bytes)
        if not (self.profile is None or (isinstance(self.profile, str) and self.profile == "auto")):
            raise InvalidInput("profiles do not exist yet; leave profile at 'auto' or None", field="profile")

    def batch_limits(self, architecture: str) -> BatchLimits:
        """Limits of the micro-batches."""
        if self.micro_batch_tokens is None:
            return BatchLimits.of(architecture)
        return BatchLimits(micro_batch_tokens=self.micro_batch_tokens)


@dataclass(frozen=True, slots=True)
class Engine:
    """The running parts of a ranker.

    Attributes:
        encoder: texts to token ids.
        architecture: token ids to probabilities.
        facts: what was chosen and why, as JSON values.

    """

    encoder: TextEncoder
    architecture: Architecture
    facts: dict[str, object]


def load_engine(bundle: Bundle, options: LoadOptions) -> Engine:
    """Open what a bundle's variant needs on this machine.

    Raises:
        InvalidInput: if there is no such provider or variant.
        BundleError: if the tokenizer or a graph cannot be loaded.
        ProviderUnavailable: if the provider asked for by name does not really run.

    """
    manifest = bundle.manifest
    limits = options.batch_limits(manifest.architecture)
    threads = options.threads or usable_cpus()
    family = machine_family()
    encoder = load_encoder(bundle)
    offered = offered_providers()
    tries = candidates(options.provider, offered)
    notes = _skipped(tries) if options.provider == AUTO else []
    for provider in tries:
        choice = choose_variant(manifest, options.variant, provider, family)
        try:
            sessions = open_sessions(bundle, choice.variant, provider, threads)
        except ProviderUnavailable as error:
            if provider is tries[-1]:
                raise
            notes.append(f"{provider.name}: {error}")
            continue
        cache = HistoryCache(options.history_cache_bytes)
        architecture = build_architecture(
            manifest.architecture, manifest.head, sessions, limits, bundle.pad_id(), cache
        )
        facts = _facts(bundle, options, provider, choice, sessions)
        facts |= {
            "provider_notes": notes,
            "threads": threads,
            "cpus": usable_cpus(),
            "machine_family": family,
            "micro_batch_tokens": limits.micro_batch_tokens,
        }
        return Engine(encoder, architecture, facts)
    raise ProviderUnavailable("this onnxruntime offers no provider that onyxrank knows; reinstall onnxruntime")


def load_encoder(bundle: Bundle) -> TextEncoder:
    """Load the bundle's tokenizer under the manifest's limits.

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
        )
    except InvalidInput as error:
        raise BundleError(f"{path}: {error}; export the bundle again") from error


def open_sessions(bundle: Bundle, variant: Variant, provider: Provider, threads: int) -> dict[str, Session]:
    """Open every graph of a variant, by role; all or none.

    Raises:
        BundleError: if a graph cannot be loaded.
        ProviderUnavailable: if a session does not really run on the provider.

    """
    sessions: dict[str, Session] = {}
    try:
        for role, graph in ARCHITECTURES[bundle.manifest.architecture].items():
            sessions[role] = OrtSession(bundle.path(variant.files[role]), graph, provider, threads)
    except BaseException:
        for session in sessions.values():
            session.close()
        raise
    return sessions


def _skipped(tries: Sequence[Provider]) -> list[str]:
    return [
        f"{provider.name}: not offered by this onnxruntime"
        for provider in PROVIDERS.values()
        if provider not in tries
    ]


def _facts(
    bundle: Bundle,
    options: LoadOptions,
    provider: Provider,
    choice: VariantChoice,
    sessions: dict[str, Session],
) -> dict[str, object]:
    running = next(iter(sessions.values())).info()
    return {
        "bundle": str(bundle.folder.resolve()),
        "architecture": bundle.manifest.architecture,
        "variant": choice.variant.name,
        "variant_reason": choice.reason,
        "precision": choice.variant.precision,
        "batch_invariant": choice.variant.batch_invariant,
        "provider_asked": options.provider,
        "provider": provider.name,
        "session_providers": list(running.providers),
        "session_options": dict(running.options),
        "onnxruntime_version": running.onnxruntime_version,
        "limits": asdict(bundle.manifest.limits),
        "profile": None,
        "profile_hint": _TUNE_HINT,
    }
