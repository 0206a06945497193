"""What is kept of a shopper's history between requests (shared-history): the keys and values of every layer.

Entries are found by a digest of the token ids under a key made anew in every process, so that neither a text nor
anything that it could be guessed from is held; and they live in memory only.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.request.lru import Lru

DEFAULT_CACHE_BYTES = 64 * 2**20
"""Of the history cache: about 17 histories of 192 tokens with MiniLM-L6, 4 with BERT-base."""
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class HistoryState:
    """A history as the items of a request see it, float32; P is its number of tokens.

    The last K - P keys stand for an item's own tokens, and share its weight: the queries carry the log-sum-exp of the
    item's scores in one more channel, so that one softmax over K scores weighs the history against the item. Their
    values are zero. There is at least one: K is the next multiple of `KEY_STEP` above P, in bundles of before P + 1.

    Attributes:
        keys: [layers, heads, head_size + 1, K], transposed, to be multiplied with queries from the left.
        values: [layers, heads, K, head_size].

    """

    keys: NDArray[np.float32]
    values: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.keys.nbytes + self.values.nbytes


class HistoryCache:
    """The states of the histories used last, within a budget of bytes. Safe to share between threads.

    Args:
        max_bytes: of all states together; 0 keeps none. A state larger than that is not kept.

    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._secret = os.urandom(_DIGEST_BYTES)
        self._kept: Lru[bytes, HistoryState] = Lru(max_bytes)

    def get(self, history: NDArray[np.int32]) -> HistoryState | None:
        """The state of a history's token ids, if it is here; it counts as used just now."""
        return self._kept.find([self._key(history)])[0]

    def put(self, history: NDArray[np.int32], state: HistoryState) -> None:
        """Keep a state, and let go of those not used for the longest time."""
        self._kept.keep([(self._key(history), state, state.nbytes)])

    def clear(self) -> None:
        """Let go of everything; the counts stay."""
        self._kept.clear()

    def facts(self) -> dict[str, int]:
        """Entries, bytes, and how often a history was found, as JSON values."""
        return self._kept.facts()

    def _key(self, history: NDArray[np.int32]) -> bytes:
        ids = np.ascontiguousarray(history, dtype=np.int32).tobytes()
        return hashlib.blake2b(ids, digest_size=_DIGEST_BYTES, key=self._secret).digest()
