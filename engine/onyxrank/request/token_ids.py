"""Token ids of requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.history_cache import HistoryState
from onyxrank.request.truncation import Cuts


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences of different lengths in one flat array.

    Attributes:
        ids: int32, all tokens one after the other.
        offsets: int64 of length n + 1; sequence i is ``ids[offsets[i]:offsets[i + 1]]``.

    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int] | NDArray[np.int32]]) -> Ragged:
        """Line up token ids."""
        offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
        none = np.empty(0, dtype=np.int32)
        return cls(np.concatenate([none, *(np.asarray(sequence, np.int32) for sequence in sequences)]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sequence."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class EncodedHistory:
    """A history as token ids.

    Attributes:
        ids: int32 ids of segment A, ``[CLS] history [SEP]``.
        cuts: what truncation left out of it.
        state: its keys and values, where they are known already (shared-history).

    """

    ids: NDArray[np.int32]
    cuts: Cuts
    state: HistoryState | None = None


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """One request as token ids.

    Attributes:
        history: int32 ids of segment A, ``[CLS] history [SEP]``.
        items: ids of segment B per item, ``title description [SEP]``.
        cuts: what truncation left out.
        state: of the history, where it is known already (shared-history).

    """

    history: NDArray[np.int32]
    items: Ragged
    cuts: Cuts
    state: HistoryState | None = None
