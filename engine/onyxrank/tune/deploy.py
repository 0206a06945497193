"""A slim folder for the machine that was tuned on: a bundle with just the graphs of its profile."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from onyxrank.bundle.manifest import MANIFEST_NAME, Manifest
from onyxrank.bundle.opening import Bundle
from onyxrank.bundle.writing import check_replaceable, check_writable, copy_file, new_folder, write_manifest
from onyxrank.errors import BundleError
from onyxrank.loading.profile import Profile, profile_path, write_profile
from onyxrank.sessions.tensorrt import engine_folder

_SETTINGS = ("config.json", "tokenizer_config.json", "special_tokens_map.json")
"""What other tools look for beside the tokenizer; small."""


def check_deployable(bundle: Bundle, target: Path, *, overwrite: bool) -> None:
    """Refuse a folder that `deploy` would not write: to be asked before long work begins.

    Raises:
        BundleError: if `target` exists and may not be replaced, cannot be written, or is the bundle itself or a
            folder around it.

    """
    check_replaceable(target, overwrite=overwrite)
    check_writable(target / MANIFEST_NAME, "--export")
    if target.resolve() in (bundle.folder.resolve(), *bundle.folder.resolve().parents):
        raise BundleError(f"'{target}' is the bundle that was tuned, and is not replaced; choose another folder")


def deploy(bundle: Bundle, profile: Profile, target: Path, *, overwrite: bool = False) -> Manifest:
    """Write the files that a profile needs as a bundle of their own, with the profile in it.

    Args:
        bundle: what was tuned.
        profile: what was found.
        target: the folder to write, whole or not at all.
        overwrite: replace a bundle that is there.

    Raises:
        BundleError: as `check_deployable`.

    """
    check_deployable(bundle, target, overwrite=overwrite)
    manifest = bundle.manifest
    variant = manifest.variant(profile.setting.variant)
    needed = {manifest.tokenizer.file, *variant.files.values(), *_SETTINGS}
    files = {name: entry for name, entry in manifest.files.items() if name in needed}
    slim = replace(manifest, variants=(variant,), files=files)
    with new_folder(target, overwrite=overwrite) as folder:
        for name in slim.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy_file(bundle.path(name), folder / name)
        write_profile(profile, profile_path(folder, profile.fingerprint))
        for name in variant.files.values():
            built, kept = (
                engine_folder(each, profile.fingerprint, files[name].sha256) for each in (bundle.folder, folder)
            )
            if built.is_dir():  # it took minutes, and the slim folder may be read-only where it serves
                shutil.copytree(built, kept)
        write_manifest(folder, slim)
    return slim
