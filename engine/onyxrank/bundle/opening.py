"""Opens a bundle: parses its manifest and verifies that every file it lists is there, in the folder, and unaltered.

1. ``onyxrank.json`` is read, and the paths in it are checked as text.
2. Each file's path is resolved, and a link that leads out of the folder is refused. In a snapshot of a Hugging Face
   cache every file is a link to the cache's own ``blobs``: there these are allowed.
3. Each file's size is compared first, which costs nothing, and then its SHA-256. Several files are hashed at a time,
   since hashing releases the interpreter lock.

The error names all faulty files at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from onyxrank.bundle.entries import FileEntry
from onyxrank.bundle.manifest import MANIFEST_NAME, Manifest
from onyxrank.checks import is_path, why_absent
from onyxrank.errors import BundleError, InvalidInput
from onyxrank.machine.cpus import usable_cpus

_SNAPSHOTS, _BLOBS = "snapshots", "blobs"
"""Folders of a repository in a Hugging Face cache: of its revisions, and of the files that these link to."""
_CHUNK_BYTES = 1 << 20
"""Bytes that are read and hashed at a time; a graph's file need not fit into memory."""
_MOST_HASHERS = 4
"""Threads that hash files; more of them would only wait for the disk."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        folder: the folder that holds its files.
        manifest: its parsed manifest.

    """

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """Return where a file of the manifest lies, given its path inside the bundle."""
        return self.folder / name

    def pad_id(self) -> int:
        """Return the token id to pad with: ``pad_token_id`` of ``config.json``, or 0 if that does not say.

        Padding is masked, so any id that the model knows will do.

        Raises:
            BundleError: if ``config.json`` is listed and is not a JSON object.

        """
        if "config.json" not in self.manifest.files:
            return 0
        config = read_json(self.path("config.json"))
        if not isinstance(config, dict):
            raise BundleError(f"{self.path('config.json')} is not a JSON object; export the bundle again")
        pad_id = config.get("pad_token_id")
        return pad_id if isinstance(pad_id, int) else 0


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and verify a bundle.

    Raises:
        InvalidInput: if `path` is not a path.
        BundleError: if the folder is missing or not a bundle, or a file is missing, altered, or outside it.

    """
    if not is_path(path):
        raise InvalidInput(f"bundle must be a path, not {type(path).__name__}", field="bundle")
    folder = Path(path)
    reason = why_absent(folder, folder=True)
    if reason is not None:
        raise BundleError(f"there is no folder {folder}{reason}; `onyxrank export` writes bundles")
    reason = why_absent(folder / MANIFEST_NAME)
    if reason is not None:
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST_NAME}{reason}; `onyxrank export` writes bundles"
        )
    try:
        manifest = Manifest.parse(read_json(folder / MANIFEST_NAME))
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error
    verify_files(folder, manifest)
    return Bundle(folder, manifest)


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every listed file with its size and SHA-256.

    Raises:
        BundleError: if files are faulty; it names each of them and what is wrong with it.

    """
    faults = find_faults(folder, manifest)
    if faults:
        listed = "; ".join(f"{name}: {what}" for name, what in faults.items())
        raise BundleError(f"{folder} is not what was exported: {listed}. Copy or export the bundle again")


def find_faults(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Say what is wrong with each faulty file, by its path; the result is empty for an intact bundle."""
    root = folder.resolve()
    # A repository of several bundles has each in a folder of its snapshot.
    revision = next((each for each in (root, *root.parents) if each.parent.name == _SNAPSHOTS), None)
    roots = [root] if revision is None else [root, revision.parent.parent / _BLOBS]
    with ThreadPoolExecutor(min(_MOST_HASHERS, usable_cpus())) as pool:
        faults = pool.map(lambda entry: _fault(roots, *entry), manifest.files.items())
        return {name: what for name, what in zip(manifest.files, faults, strict=True) if what}


def read_json(path: Path) -> Any:
    """Read the JSON value in a file.

    Raises:
        BundleError: if it cannot be read or is not strict JSON in UTF-8.

    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            f"{path} cannot be read as JSON ({type(error).__name__}); export the bundle again"
        ) from error


def _fault(roots: Sequence[Path], name: str, entry: FileEntry) -> str | None:
    """Say what is wrong with a file; None if nothing is.

    Args:
        roots: the bundle's folder, and others in which its links may end.
        name: path of the file inside the bundle.
        entry: what the manifest says of it.

    """
    path = (roots[0] / name).resolve()
    if not any(path.is_relative_to(root) for root in roots):
        return "a link that leaves the folder (copy the file itself there)"
    if not path.is_file():
        return "missing"
    try:
        if path.stat().st_size != entry.bytes:
            return f"{path.stat().st_size} bytes instead of {entry.bytes}"
        return None if hash_file(path) == entry.sha256 else "altered (its SHA-256 differs)"
    except OSError as error:
        return f"unreadable ({error.strerror})"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
