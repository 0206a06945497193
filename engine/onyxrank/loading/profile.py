"""Profiles: a profile says which setting was measured to be the fastest for a bundle's graphs on one machine.

1. `onyxrank tune` writes ``profiles/<digest of the machine's fingerprint>.json`` into the bundle's folder. The
   manifest does not list the file, since it is no part of the export. Nothing is lost by that: a profile can choose
   only among graphs that the manifest verifies.
2. A profile holds if its fingerprint is that of this machine, and its graphs are, by SHA-256, those of the bundle.
3. A profile that does not hold, or that another version of onyxrank wrote in another schema, is never used. Under
   ``auto`` the defaults are used instead, with a hint; if the profile was named by its path, that is an error.
4. A damaged file is an error in both cases.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onyxrank.bundle.entries import Variant
from onyxrank.bundle.fields import Fields
from onyxrank.bundle.opening import Bundle, read_json
from onyxrank.checks import why_absent
from onyxrank.errors import BundleError, InvalidInput
from onyxrank.loading.setting import Setting
from onyxrank.machine.fingerprint import PROFILE_FOLDER, Fingerprint, differences, digest, machine_fingerprint
from onyxrank.sessions.providers import PROVIDERS

PROFILE_SCHEMA = 1
"""Version of the file format that this onyxrank reads and writes."""
AUTO_PROFILE = "auto"
"""Value of the option that asks for this machine's profile, if there is one."""


class _OtherSchema(BundleError):
    """A profile has another schema version: another onyxrank wrote it, and nothing is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What `onyxrank tune` found for one bundle on one machine.

    Attributes:
        setting: the setting that was chosen.
        graphs: SHA-256 of each graph of the setting's variant, by role.
        fingerprint: the fingerprint of the machine.
        target: what the setting was chosen for, ``latency`` or ``throughput``.
        report: everything that was measured, as free-form JSON values.

    """

    setting: Setting
    graphs: Mapping[str, str]
    fingerprint: Fingerprint
    target: str
    report: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: object, path: Path) -> Profile:
        """Make a profile out of parsed JSON.

        Args:
            data: the parsed JSON.
            path: the file that it was read from, for errors.

        Raises:
            BundleError: if a key is at fault or the schema is another one; it names the file.

        """

        def fault(message: str) -> BundleError:
            return BundleError(f"{path} is damaged: {message}; delete it and run `onyxrank tune` again")

        fields = Fields(data, fault=fault)
        version = fields.take("schema_version", int)
        if version != PROFILE_SCHEMA:
            raise _OtherSchema(
                f"{path} is of schema version {version}, not {PROFILE_SCHEMA}; run `onyxrank tune` again"
            )
        setting = fields.take_object("setting")
        graphs = fields.take("graphs", dict)
        if not all(isinstance(value, str) for value in graphs.values()):
            raise fault("graphs must name a SHA-256 per role")
        try:
            chosen = Setting(
                variant=setting.take("variant", str),
                provider=setting.take("provider", str),
                threads=setting.take("threads", int),
                sessions=setting.take("sessions", int),
                micro_batch_tokens=setting.take("micro_batch_tokens", int),
            )
        except InvalidInput as error:
            raise fault(f"setting: {error}") from error
        setting.finish()
        if chosen.provider not in PROVIDERS:
            raise fault(f"there is no provider {chosen.provider!r}")
        profile = cls(
            setting=chosen,
            graphs=graphs,
            fingerprint=fields.take("fingerprint", dict),
            target=fields.take("target", str),
            report=fields.take("report", dict),
        )
        fields.finish()
        return profile

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict of JSON values, out of which `parse` makes an equal profile."""
        return {"schema_version": PROFILE_SCHEMA, **asdict(self)}

    def variant_in(self, bundle: Bundle) -> Variant | None:
        """Find the variant that was measured in a bundle.

        Returns:
            The variant, or None if the bundle does not have these graphs or the quality gate refused them.

        """
        for variant in bundle.manifest.variants:
            if variant.name == self.setting.variant and graphs_of(bundle, variant) == self.graphs:
                return None if variant.refused else variant
        return None


@dataclass(frozen=True, slots=True)
class ProfileSearch:
    """The outcome of the search for a profile.

    Attributes:
        profile: the profile that holds, or None.
        path: path of the profile's file, or None.
        hint: sentence for people that says why there is no profile and what to do; empty if there is one.

    """

    profile: Profile | None = None
    path: Path | None = None
    hint: str = ""

    def facts(self, *, used: bool) -> dict[str, object]:
        """Report the outcome as JSON values, for `Ranker.info`.

        Args:
            used: whether the setting that runs is the profile's.

        """
        if self.profile is None:
            return {"profile": None, "profile_hint": self.hint}
        found = {"file": str(self.path), "target": self.profile.target}
        found["measured_at"] = str(self.profile.report.get("measured_at"))
        hint = (
            "" if used else f"{self.path} is not used: another provider or variant was asked for, or it did not start"
        )
        return {"profile": found if used else None, "profile_hint": hint}


def find_profile(bundle: Bundle, asked: str | os.PathLike[str] | None) -> ProfileSearch:
    """Find the profile to load a bundle with.

    Args:
        bundle: the bundle.
        asked: ``auto`` for the profile of this machine, the path of a profile, or None for no profile.

    Raises:
        BundleError: if a profile is damaged, or if one that was named by its path does not hold here.

    """
    if asked is None:
        return ProfileSearch(hint="no profile was wanted: what was not chosen is a default, not measured here")
    here = machine_fingerprint()
    if asked != AUTO_PROFILE:
        path = Path(asked)
        profile = read_profile(path)
        reason = _why_not(profile, bundle, here)
        if reason:
            raise BundleError(f"{path} does not hold here: {reason}; run `onyxrank tune` on this machine")
        return ProfileSearch(profile, path)
    path = profile_path(bundle.folder, here)
    if not path.is_file():
        return ProfileSearch(hint=_none_found(bundle, here))
    try:
        profile = read_profile(path)
    except _OtherSchema as error:
        return ProfileSearch(hint=str(error))
    reason = _why_not(profile, bundle, here)
    if reason:
        return ProfileSearch(hint=f"{path.name} does not hold here: {reason}; run `onyxrank tune` again")
    return ProfileSearch(profile, path)


def profile_path(folder: Path, fingerprint: Fingerprint) -> Path:
    """Return the path in a bundle's folder at which the profile of a machine lies, if there is one."""
    return folder / PROFILE_FOLDER / f"{digest(fingerprint)}.json"


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        BundleError: if there is no such file, or if it is damaged or of another schema.

    """
    reason = why_absent(path)
    if reason is not None:
        raise BundleError(f"there is no profile {path}{reason}; `onyxrank tune` writes one")
    return Profile.parse(read_json(path), path)


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile whole or not at all; it replaces an older one in the same place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(profile.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)  # mkstemp lets only the owner read; others may run the bundle
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def graphs_of(bundle: Bundle, variant: Variant) -> dict[str, str]:
    """Return the SHA-256 of each graph of a variant, by role."""
    return {role: bundle.manifest.files[path].sha256 for role, path in variant.files.items()}


def _why_not(profile: Profile, bundle: Bundle, here: Fingerprint) -> str:
    """Say why a profile does not hold for a bundle on this machine; empty if it holds."""
    elsewhere = differences(profile.fingerprint, here)
    if elsewhere:
        return f"it was measured on another machine or version ({elsewhere})"
    if profile.variant_in(bundle) is None:
        return f"this bundle has no graphs like those measured as {profile.setting.variant!r}"
    return ""


def _none_found(bundle: Bundle, here: Fingerprint) -> str:
    """Say that a bundle has no profile of this machine, and which other machine's profile comes nearest."""
    others = []
    for path in sorted((bundle.folder / PROFILE_FOLDER).glob("*.json")):
        with suppress(BundleError):  # if it is damaged, the machine that it belongs to says so
            others.append(read_profile(path).fingerprint)
    # A profile of this machine under another file name is not found by `auto`, only by its path.
    others = [other for other in others if other != here]
    there = "there is none"
    if others:
        nearest = min(others, key=lambda other: sum(other.get(name) != here.get(name) for name in here))
        there = f"{len(others)} of other machines or versions, the nearest with {differences(nearest, here)}"
    return f"no profile of this machine ({there}): defaults are used; `onyxrank tune` measures what is fastest here"
