"""Requests as token ids, which is all that an architecture sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onyxrank.request.items import Item
from onyxrank.request.truncation import Cuts

_EMPTY_HISTORY_TOKENS = 2
"""Number of tokens of an encoded history without events: ``[CLS] [SEP]``."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences of different lengths in one flat array.

    Attributes:
        ids: token ids of all sequences, one after the other: int32 [tokens].
        offsets: where each of the n sequences begins: int64 [n + 1]; sequence i is
            ``ids[offsets[i]:offsets[i + 1]]``.

    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int] | NDArray[np.int32]]) -> Ragged:
        """Copy sequences of token ids into one array."""
        offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
        none = np.empty(0, dtype=np.int32)
        return cls(np.concatenate([none, *(np.asarray(sequence, np.int32) for sequence in sequences)]), offsets)

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """Copy the sequences of several `Ragged` into one, in their order."""
        lengths = np.concatenate([np.zeros(1, dtype=np.int64), *(part.lengths for part in parts)])
        return cls(np.concatenate([np.empty(0, dtype=np.int32), *(part.ids for part in parts)]), np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each sequence: int64 [n]."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a history, each a text of its own.

    Attributes:
        texts: token ids of each, ``[CLS] title [SEP]``, oldest first.
        places: int32 [events], places among the items that the model knows, as of `KnownItems`.

    """

    texts: Ragged
    places: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class EncodedHistory:
    """A history as token ids.

    Attributes:
        ids: int32 ids of segment A, ``[CLS] history [SEP]``; or those of all events, one after the other.
        cuts: what truncation left out of the history.
        state: what the architecture has computed from the history already, or None; only that architecture reads it.
        events: the events apart, or None where the model reads the history as one text.

    """

    ids: NDArray[np.int32]
    cuts: Cuts
    state: object | None = None
    events: Events | None = None


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """One request as token ids.

    Attributes:
        history: int32 ids of the history, as in `EncodedHistory`.
        items: ids of segment B of every item, ``title description [SEP]``; with ``[CLS]`` in front where events are
            apart, since items then are texts of their own too.
        cuts: what truncation left out of the history and the items.
        state: what the architecture has computed from the history already, or None, as in `EncodedHistory`.
        candidates: the items themselves, which the ranking gives back; empty where no ranking is made.
        events: the events apart, or None, as in `EncodedHistory`.
        places: int32 [items], places of the items among those that the model knows; None where it knows texts alone.

    """

    history: NDArray[np.int32]
    items: Ragged
    cuts: Cuts
    state: object | None = None
    candidates: tuple[Item, ...] = ()
    events: Events | None = None
    places: NDArray[np.int32] | None = None

    def picked(self, rows: slice) -> EncodedRequest:
        """The request with some of its items, which follow each other."""
        first, last, _ = rows.indices(len(self.items))
        offsets = self.items.offsets[first : last + 1]
        return replace(
            self,
            items=Ragged(self.items.ids[offsets[0] : offsets[-1]], offsets - offsets[0]),
            candidates=self.candidates[rows],
            places=None if self.places is None else self.places[rows],
        )

    @property
    def cold(self) -> bool:
        """Whether the history is empty."""
        return len(self.events.texts) == 0 if self.events else len(self.history) == _EMPTY_HISTORY_TOKENS
