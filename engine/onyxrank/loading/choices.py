"""Which settings to try when a bundle is loaded, and why.

1. What was asked for stands in all of them.
2. The setting of the machine's profile comes first, where there is a profile that holds.
3. Then comes a default for each provider that may be taken, the best one first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.manifest import Variant
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
    """A setting to try, and why; `tuned` if it is a profile's."""

    setting: Setting
    variant: Variant
    reason: str
    tuned: bool = False

    @property
    def provider(self) -> Provider:
        """What it runs on."""
        return PROVIDERS[self.setting.provider]


def choices_of(
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
    architecture = ARCHITECTURES[bundle.manifest.architecture]
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
