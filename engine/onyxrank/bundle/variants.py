"""Chooses the graph variant to load when nothing measured says which is fastest.

1. A variant that is asked for by name is taken, whatever this machine is. The reason says what speaks against it.
2. Otherwise a variant must be batch-invariant, since a score must not depend on the other items of the list, and the
   quality gate must not have refused it.
3. On a provider that gains from int8, the first int8 variant made for this machine family is taken, and fp32 where
   there is none. On a provider that computes in bf16 only the bf16 variant may be taken, since the gate has judged no
   other one in bf16.
"""

from __future__ import annotations

from dataclasses import dataclass

from onyxrank.bundle.entries import Variant
from onyxrank.bundle.manifest import Manifest
from onyxrank.errors import BundleError, InvalidInput
from onyxrank.machine.cpus import MachineFamily
from onyxrank.sessions.providers import AUTO, Provider


@dataclass(frozen=True, slots=True)
class VariantChoice:
    """The variant that was chosen.

    Attributes:
        variant: the variant.
        reason: a phrase for people that says why it was chosen.

    """

    variant: Variant
    reason: str


def choose_variant(manifest: Manifest, asked: str, provider: Provider, family: MachineFamily) -> VariantChoice:
    """Choose the variant to load.

    Args:
        manifest: the bundle's manifest.
        asked: name of a variant, or ``auto``.
        provider: the execution provider that the variant will run on.
        family: the family of this machine's processor.

    Raises:
        InvalidInput: if the bundle has no variant of that name; the message lists those that it has.
        BundleError: if `asked` is ``auto`` and no variant may be taken.

    """
    if asked != AUTO:
        return _named(manifest, asked, provider, family)
    safe = manifest.unasked(family)
    if provider.needs_bf16:
        return _bf16(manifest, safe, provider)
    int8 = [variant for variant in safe if variant.precision.startswith("int8")]
    if int8 and provider.takes(int8[0].precision):
        return VariantChoice(int8[0], f"batch-invariant int8 made for {family}")
    for variant in safe:
        if variant.precision == "fp32":
            return VariantChoice(variant, _why_fp32(manifest, provider, family))
    raise BundleError(
        f"no variant of this bundle is batch-invariant and made for {family}; ask for one by name: {_names(manifest)}"
    )


def _bf16(manifest: Manifest, safe: list[Variant], provider: Provider) -> VariantChoice:
    for variant in safe:
        if variant.precision == "bf16":
            return VariantChoice(variant, "the gate has judged it in bf16")
    own = [variant for variant in manifest.variants if variant.precision == "bf16"]
    why = _unsafe(own[0]) if own else "the bundle has none: `onyxrank export --precision bf16` makes it"
    raise BundleError(f"{provider.name} takes a bf16 variant unasked, and {why}; or ask for a variant by name")


def _named(manifest: Manifest, asked: str, provider: Provider, family: MachineFamily) -> VariantChoice:
    for variant in manifest.variants:
        if variant.name == asked:
            if variant.precision == "bf16" and not provider.needs_bf16:
                raise InvalidInput(
                    f"variant {asked!r} is the fp32 graphs computed in bf16, and {provider.name} does not: ask for "
                    "provider='openvino_bf16' too",
                    field="variant",
                )
            notes = ["asked for by name"]
            if provider.needs_bf16 and variant.precision != "bf16":
                notes.append("computed in bf16, in which the gate has not judged it")
            if not variant.runs_on(family):
                notes.append(f"made for {', '.join(variant.machines)} and not gated on {family}")
            if not variant.batch_invariant:
                notes.append("a score depends on the other items of the list")
            if variant.refused:
                notes.append("refused by the quality gate and written by force")
            return VariantChoice(variant, "; ".join(notes))
    raise InvalidInput(
        f"this bundle has no variant {asked!r}; choose {AUTO} or one of {_names(manifest)}", field="variant"
    )


def _why_fp32(manifest: Manifest, provider: Provider, family: MachineFamily) -> str:
    quantized = [variant for variant in manifest.variants if variant.precision.startswith("int8")]
    if not quantized:
        return "the bundle has fp32 only"
    if provider.gains_from != "int8":
        return f"int8 is not faster on {provider.name}"
    return "; ".join(_why_not(variant, family) for variant in quantized)


def _why_not(variant: Variant, family: MachineFamily) -> str:
    if not variant.runs_on(family):
        return f"{variant.name} is made for {', '.join(variant.machines)}, this machine is {family}"
    return _unsafe(variant)


def _unsafe(variant: Variant) -> str:
    """Say why a variant that was made for this machine family is not taken unless it is asked for by name."""
    if variant.refused:
        return f"{variant.name} was refused by the quality gate"
    return f"with {variant.name} a score would depend on the other items of the list"


def _names(manifest: Manifest) -> str:
    return ", ".join(variant.name for variant in manifest.variants)
