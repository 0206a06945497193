"""What was measured to be the fastest setting for a bundle's graphs on one machine: a value, and a file.

1. `onyxrank tune` writes ``profiles/<digest of the machine's fingerprint>.json`` into the bundle's folder. It is no
   part of what was exported, so the manifest does not list it; it can choose only among what the manifest verifies.
2. A profile holds where its fingerprint is this machine's and its graphs are, by SHA-256, those of the bundle.
3. One that does not hold, or that another onyxrank wrote in another schema, is never used: under ``auto`` the
   defaults are, with a hint; named by path, it is an error. A damaged file is an error under either.
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

from onyxrank.bundle.fields import Fields
from onyxrank.bundle.manifest import Variant
from onyxrank.bundle.opening import Bundle, read_json
from onyxrank.errors import BundleError, InvalidInput
from onyxrank.loading.setting import Setting
from onyxrank.machine.fingerprint import PROFILE_FOLDER, Fingerprint, differences, digest, machine_fingerprint
from onyxrank.sessions.providers import PROVIDERS

PROFILE_SCHEMA = 1
AUTO_PROFILE = "auto"


class _OtherSchema(BundleError):
    """A profile of another onyxrank: no fault of the bundle's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What `onyxrank tune` found.

    Attributes:
        setting: the one chosen.
        graphs: SHA-256 of the variant's graphs, by role.
        fingerprint: the machine.
        target: what it was chosen for: ``latency`` or ``throughput``.
        report: everything that was measured, free-form.

    """

    setting: Setting
    graphs: Mapping[str, str]
    fingerprint: Fingerprint
    target: str
    report: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: object, path: Path) -> Profile:
        """Make a profile of parsed JSON.

        Raises:
            BundleError: naming the file, and the key at fault or that a newer onyxrank is needed.

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
        """Plain dict of JSON values that `parse` reads back to an equal profile."""
        return {"schema_version": PROFILE_SCHEMA, **asdict(self)}

    def variant_in(self, bundle: Bundle) -> Variant | None:
        """The bundle's variant that was measured; None if it has no such graphs, or the quality gate refused them."""
        for variant in bundle.manifest.variants:
            if variant.name == self.setting.variant and graphs_of(bundle, variant) == self.graphs:
                return None if variant.refused else variant
        return None


@dataclass(frozen=True, slots=True)
class ProfileSearch:
    """What became of the search for a profile.

    Attributes:
        profile: the one that holds, or None.
        path: of its file.
        hint: why there is none and what to do; empty if there is one.

    """

    profile: Profile | None = None
    path: Path | None = None
    hint: str = ""

    def facts(self, *, used: bool) -> dict[str, object]:
        """JSON values for `Ranker.info`; `used` is whether what runs is the profile's setting."""
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
        asked: ``auto`` for the one of this machine, a file, or None for none.

    Raises:
        BundleError: if a profile is damaged, or one that was named does not hold here.

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
    """Where the profile of a machine lies in a bundle's folder."""
    return folder / PROFILE_FOLDER / f"{digest(fingerprint)}.json"


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        BundleError: if there is no such file or it is damaged.

    """
    if not path.is_file():
        raise BundleError(f"there is no profile {path}; `onyxrank tune` writes one")
    return Profile.parse(read_json(path), path)


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile whole or not at all, replacing an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(profile.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)  # mkstemp's is for the owner alone; the bundle's other files are not
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def graphs_of(bundle: Bundle, variant: Variant) -> dict[str, str]:
    """SHA-256 of a variant's graphs by role."""
    return {role: bundle.manifest.files[path].sha256 for role, path in variant.files.items()}


def _why_not(profile: Profile, bundle: Bundle, here: Fingerprint) -> str:
    elsewhere = differences(profile.fingerprint, here)
    if elsewhere:
        return f"it was measured on another machine or version ({elsewhere})"
    if profile.variant_in(bundle) is None:
        return f"this bundle has no graphs like those measured as {profile.setting.variant!r}"
    return ""


def _none_found(bundle: Bundle, here: Fingerprint) -> str:
    others = []
    for path in sorted((bundle.folder / PROFILE_FOLDER).glob("*.json")):
        with suppress(BundleError):  # of another machine: whether it is damaged is told there
            others.append(read_profile(path).fingerprint)
    others = [other for other in others if other != here]  # under a name of its own: to be loaded by its path
    there = "there is none"
    if others:
        nearest = min(others, key=lambda other: sum(other.get(name) != here.get(name) for name in here))
        there = f"{len(others)} of other machines or versions, the nearest with {differences(nearest, here)}"
    return f"no profile of this machine ({there}): defaults are used; `onyxrank tune` measures what is fastest here"
