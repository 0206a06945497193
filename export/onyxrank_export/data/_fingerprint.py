"""Names the content of a data set by its hash, whatever files the content came in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fingerprint(*parts: Sequence[str] | NDArray[Any] | None) -> str:
    """Return the SHA-256 (hex) of texts and arrays, in the order given.

    Every part goes in with its kind and length, and every text with its own length, so that no two contents
    run together to the same bytes. Arrays go in as little-endian bytes, the same on every machine.
    """
    digest = hashlib.sha256()
    for part in parts:
        if part is None:
            digest.update(b"none")
        elif isinstance(part, np.ndarray):
            little = part.astype(part.dtype.newbyteorder("<"), copy=False)
            digest.update(f"array {little.dtype.str} {len(little)} ".encode())
            digest.update(little.tobytes())
        else:
            encoded = [text.encode() for text in part]
            digest.update(f"texts {len(encoded)} ".encode())
            digest.update(np.array([len(text) for text in encoded], dtype="<i8").tobytes())
            digest.update(b"".join(encoded))
    return digest.hexdigest()
