"""The item cache: keeps the token ids of the items that were ranked last.

The items of a catalogue come back in many requests, and this way each of them is tokenized once. An entry is found by
title and description, so that an item is tokenized anew when its text changes. Entries live in memory only, and no
history is among them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.request.items import Item
from onyxrank.request.lru import Lru

DEFAULT_ITEM_CACHE_BYTES = 16 * 2**20
"""Most bytes of token ids and texts by default, enough for some 10,000 items with descriptions of 500 characters."""
_ENTRY_BYTES = 400
"""About the bytes that Python's own objects around an entry take: tuples, the array's head, a slot of the dict."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedItem:
    """An item as token ids.

    Attributes:
        ids: token ids of segment B, ``title description [SEP]``: int32.
        title_cut: whether a part of the title was left out because of the limit.
        description_cut: whether the description, or a part of it, was left out.

    """

    ids: NDArray[np.int32]
    title_cut: bool
    description_cut: bool


class ItemTokens:
    """A cache of encoded items, found by their texts. Safe to share between threads.

    Args:
        max_bytes: most bytes of all entries together, texts included; 0 keeps none.

    """

    def __init__(self, max_bytes: int = DEFAULT_ITEM_CACHE_BYTES) -> None:
        self._kept: Lru[tuple[str, str], EncodedItem] = Lru(max_bytes)

    def find(self, items: Sequence[Item]) -> list[EncodedItem | None]:
        """Look items up: each one's token ids, or None where it is not in the cache."""
        return self._kept.find([(item.title, item.description) for item in items])

    def keep(self, items: Sequence[Item], encoded: Sequence[EncodedItem]) -> None:
        """Put items into the cache, each with its token ids."""
        self._kept.keep(
            (
                (item.title, item.description),
                row,
                sys.getsizeof(item.title) + sys.getsizeof(item.description) + row.ids.nbytes + _ENTRY_BYTES,
            )
            for item, row in zip(items, encoded, strict=True)
        )

    def facts(self) -> dict[str, int]:
        """Report the number of entries, their bytes, hits and misses, as JSON values."""
        return self._kept.facts()
