"""Writes a bundle whole or not at all.

The files go into a temporary folder beside the target, which is renamed to the target when it is complete. So a
reader never sees half a bundle, and an export that fails leaves the bundle that was there before.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onyxrank.bundle.entries import FileEntry
from onyxrank.bundle.manifest import MANIFEST_NAME, Manifest
from onyxrank.bundle.opening import hash_file
from onyxrank.errors import BundleError


def check_replaceable(target: Path, *, overwrite: bool) -> None:
    """Refuse a folder that `new_folder` would not write, so that a caller can ask before long work begins.

    Raises:
        BundleError: if `target` exists and may not be replaced, or is something other than a bundle.

    """
    if target.exists() and not overwrite:
        raise BundleError(f"'{target}' exists; choose another folder, or replace it with --overwrite")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BundleError(f"'{target}' is not a folder; choose another name")
    if target.exists() and any(target.iterdir()) and not (target / MANIFEST_NAME).is_file():
        raise BundleError(
            f"'{target}' holds something other than a bundle and is not replaced; choose another folder"
        )


def check_writable(path: Path, option: str = "--out") -> None:
    """Refuse a place where no file could be written, so that a caller can ask before long work begins.

    Args:
        path: the file to be written later.
        option: the option of the command line with which the user can name another file; the error mentions it.

    Raises:
        BundleError: if no file can be made there.

    """
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BundleError(f"'{path}' cannot be written; name another file with {option}")


@contextmanager
def new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` when the block ends well, and is removed when it does not.

    Raises:
        BundleError: if `target` exists and may not be replaced, or is something other than a bundle.

    """
    check_replaceable(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as holder:
        folder = Path(holder) / "new"
        folder.mkdir()
        yield folder
        old = Path(holder) / "old"
        try:
            if target.exists():
                os.replace(target, old)
            os.replace(folder, target)
        except BaseException:  # Ctrl-C must not cost the bundle that was there either
            if old.exists() and not target.exists():
                os.replace(old, target)
            raise


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Hash and measure every file below a folder; the keys are paths inside it, with forward slashes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_NAME)
    return {
        path.relative_to(folder).as_posix(): FileEntry(sha256=hash_file(path), bytes=path.stat().st_size)
        for path in paths
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into a bundle's folder as ``onyxrank.json``."""
    text = json.dumps(manifest.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def folder_size(folder: Path) -> int:
    """Add up the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, but not its permissions and times: a bundle has no use for another machine's."""
    shutil.copyfile(source, target)
