"""What an architecture keeps between requests of what it computed from a history: a state, such as keys and values.

A state is found by a digest of the token ids that it was computed from, under a key made anew in every process, so
that neither a text nor anything that it could be guessed from is held; and states live in memory only.
"""

from __future__ import annotations

import hashlib
import os
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from onyxrank.request.lru import Lru

_DIGEST_BYTES = 16


class Sized(Protocol):
    """A state that knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""


State = TypeVar("State", bound=Sized)


class StateCache(Generic[State]):
    """The states used last, within a budget of bytes. Safe to share between threads.

    Args:
        max_bytes: most bytes of all states together; 0 keeps none. A state larger than that is not kept.

    """

    def __init__(self, max_bytes: int) -> None:
        self._secret = os.urandom(_DIGEST_BYTES)
        self._kept: Lru[bytes, State] = Lru(max_bytes)

    def get(self, ids: NDArray[np.int32]) -> State | None:
        """The state that was computed from these token ids, if it is here; it then counts as used just now."""
        return self._kept.find([self._key(ids)])[0]

    def put(self, ids: NDArray[np.int32], state: State) -> None:
        """Keep a state, and let go of those that were not used for the longest time."""
        self._kept.keep([(self._key(ids), state, state.nbytes)])

    def clear(self) -> None:
        """Let go of all states; the counts stay."""
        self._kept.clear()

    def facts(self) -> dict[str, int]:
        """Number of entries, their bytes, and how often a state was found and missed, as JSON values."""
        return self._kept.facts()

    def _key(self, ids: NDArray[np.int32]) -> bytes:
        plain = np.ascontiguousarray(ids, dtype=np.int32).tobytes()
        return hashlib.blake2b(plain, digest_size=_DIGEST_BYTES, key=self._secret).digest()
