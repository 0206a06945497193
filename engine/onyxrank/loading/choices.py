"""Decides which settings to try when a bundle is loaded, in which order, and why.

1. Every setting has what the caller asked for.
2. The setting of the machine's profile comes first, if there is a profile that holds and the caller named neither a
   provider nor a variant.
3. Then comes a default setting for each provider that may be taken, the best provider first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.entries import Variant
from onyxrank.bundle.opening import Bundle
from onyxrank.bundle.variants import choose_variant
from onyxrank.errors import BundleError
from onyxrank.loading.options import LoadOptions
from onyxrank.loading.profile import Profile
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import MachineFamily, usable_cpus
from onyxrank.sessions.ort_session import offered_providers
from onyxrank.sessions.providers import AUTO, PROVIDERS, Provider, candidates


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting to try.

    Attributes:
        setting: the setting.
        variant: the bundle's variant that the setting names.
        reason: a phrase for people that says why the setting is tried.
        tuned: whether the setting comes from a profile.

    """

    setting: Setting
    variant: Variant
    reason: str
    tuned: bool = False

    @property
    def provider(self) -> Provider:
        """The execution provider that the setting names."""
        return PROVIDERS[self.setting.provider]


def choices_of(
    bundle: Bundle, options: LoadOptions, profile: Profile | None, family: MachineFamily
) -> tuple[list[Choice], list[str]]:
    """List the settings to try when a bundle is loaded.

    Args:
        bundle: the bundle.
        options: what the caller asked for.
        profile: the profile that holds for this bundle and machine, or None.
        family: the family of this machine's processor.

    Returns:
        The settings in the order in which to try them, and notes for people that say why ``auto`` leaves out some
        providers.

    Raises:
        InvalidInput: if there is no provider or variant of the name that was asked for.
        BundleError: if there is nothing to try, because the caller named no variant and none may be taken.

    """
    choices: list[Choice] = []
    notes: dict[str, str] = {}
    fault: BundleError | None = None
    variant = profile.variant_in(bundle) if profile else None
    # Threads and sessions divide the CPUs between them. If the caller gives one of them, the profile's other one does
    # not fit it, and a default is taken.
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
    architecture = ARCHITECTURES[bundle.manifest.architecture]
    offered = candidates(options.provider, offered_providers(options.provider))
    for provider in offered:
        try:
            chosen = choose_variant(bundle.manifest, options.variant, provider, family)
        except BundleError as error:  # a bundle that tune reduced has only one variant, which suits one provider
            fault, notes[provider.name] = error, str(error)
            continue
        setting = Setting(
            variant=chosen.variant.name,
            provider=provider.name,
            **layout,
            micro_batch_tokens=options.micro_batch_tokens or architecture.default_micro_batch_tokens,
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
