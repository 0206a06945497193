"""Writes a slim bundle for the machine that was tuned on, with only the graphs that its profile needs."""

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

_CONFIG_FILES = ("config.json", "tokenizer_config.json", "special_tokens_map.json")
"""Small files that other tools look for beside the tokenizer, so that the slim bundle opens in them too."""


def check_deployable(bundle: Bundle, target: Path, *, overwrite: bool) -> None:
    """Refuse a folder that `deploy` would not write, so that a caller can ask before long work begins.

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
        bundle: the bundle that was tuned.
        profile: the profile that was found for it on this machine.
        target: the folder to write, whole or not at all.
        overwrite: whether to replace a bundle that is already there.

    Returns:
        The manifest of the slim bundle.

    Raises:
        BundleError: if `check_deployable` refuses the folder.

    """
    check_deployable(bundle, target, overwrite=overwrite)
    manifest = bundle.manifest
    variant = manifest.variant(profile.setting.variant)
    needed = {manifest.tokenizer.file, *variant.files.values(), *_CONFIG_FILES}
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
            # TensorRT's engines took minutes to build, and the slim folder may be read-only where it serves.
            if built.is_dir():
                shutil.copytree(built, kept)
        write_manifest(folder, slim)
    return slim
