"""The cache in which an architecture keeps the states of histories, such as keys and values, between requests.

A state is found by a digest of the token ids that it was computed from. The digest has a secret key, which is made
anew for every cache, so that nobody who sees the digests can guess a history from them. States live in memory only.
"""

from __future__ import annotations

import hashlib
import os
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from onyxrank.request.lru import Lru

_DIGEST_BYTES = 16
"""Size of a digest: with 128 bits, two histories do not get the same one by chance."""


class Sized(Protocol):
    """A state that knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Number of bytes of the state's arrays."""


State = TypeVar("State", bound=Sized)


class StateCache(Generic[State]):
    """A cache of the states that were used last, within a budget of bytes. Safe to share between threads.

    Args:
        max_bytes: most bytes of all states together; 0 keeps none. A state larger than that is not kept.

    """

    def __init__(self, max_bytes: int) -> None:
        self._secret = os.urandom(_DIGEST_BYTES)
        self._kept: Lru[bytes, State] = Lru(max_bytes)

    def get(self, ids: NDArray[np.int32]) -> State | None:
        """Return the state that was computed from these token ids, or None if it is not in the cache."""
        return self._kept.find([self._key(ids)])[0]

    def put(self, ids: NDArray[np.int32], state: State) -> None:
        """Keep the state of these token ids, and let go of the least recently used ones until all fit."""
        self._kept.keep([(self._key(ids), state, state.nbytes)])

    def clear(self) -> None:
        """Let go of all states; the counts stay."""
        self._kept.clear()

    def facts(self) -> dict[str, int]:
        """Report the number of entries, their bytes, the budget, hits and misses, as JSON values."""
        return self._kept.facts()

    def _key(self, ids: NDArray[np.int32]) -> bytes:
        plain = np.ascontiguousarray(ids, dtype=np.int32).tobytes()
        return hashlib.blake2b(plain, digest_size=_DIGEST_BYTES, key=self._secret).digest()
