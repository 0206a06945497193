"""Finds the items that a model knows by their ids and titles, of which a bundle keeps hashes alone.

1. A candidate is the item of its id. An id that is only the candidate's position in its list, as plain titles get,
   counts where the title is that item's too.
2. A candidate whose id is unknown, and an event of a history, which is a title, is the item of its title. Of several
   items with one title it is the one that was bought most.
3. What is neither is new to the model, which then goes by its text alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onyxrank.request.items import Item

_BYTES = 8
"""Size of a hash: among a million items two share one with a probability of 3e-8."""
NEW = -1
"""The place of what the model does not know."""


@dataclass(frozen=True, slots=True)
class KnownItems:
    """The items that a model learnt something of besides their texts. Safe to share between threads.

    Attributes:
        ids: uint64 [items], hashes of the items' ids.
        titles: uint64 [items], hashes of their titles.
        counts: int64 [items], how often each was bought in training.

    """

    ids: NDArray[np.uint64]
    titles: NDArray[np.uint64]
    counts: NDArray[np.int64]
    _by_id: dict[int, int] = field(init=False, repr=False, compare=False)
    _by_title: dict[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_count = np.argsort(self.counts, kind="stable")  # what comes later in a dict replaces what came before
        object.__setattr__(self, "_by_id", dict(zip(self.ids.tolist(), range(len(self.ids)), strict=True)))
        titles = zip(self.titles[by_count].tolist(), by_count.tolist(), strict=True)
        object.__setattr__(self, "_by_title", dict(titles))

    @classmethod
    def of(cls, items: Sequence[Item], counts: NDArray[np.int64]) -> KnownItems:
        """Hash items, whose places are their positions in the sequence."""
        return cls(hashes([item.id for item in items]), hashes([item.title for item in items]), counts)

    def __len__(self) -> int:
        return len(self.ids)

    def places_of(self, items: Sequence[Item]) -> NDArray[np.int32]:
        """Find candidates: the place of each, or `NEW`, int32 [items]."""
        return np.array([self._place_of(index, item) for index, item in enumerate(items)], np.int32)

    def places_of_titles(self, titles: Sequence[str]) -> NDArray[np.int32]:
        """Find events by their titles: the place of each, or `NEW`, int32 [titles]."""
        return np.array([self._by_title.get(_hash(title), NEW) for title in titles], np.int32)

    def _place_of(self, index: int, item: Item) -> int:
        place = self._by_id.get(_hash(item.id), NEW)
        title = _hash(item.title)
        if place != NEW and (item.id != str(index) or int(self.titles[place]) == title):
            return place
        return self._by_title.get(title, NEW)


def hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Hash texts, without regard to space around them: uint64 [texts]."""
    return np.array([_hash(text) for text in texts], np.uint64)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.strip().encode(), digest_size=_BYTES).digest(), "little")
