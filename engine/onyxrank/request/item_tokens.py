"""The token ids of the items ranked last: a catalogue is asked for again and again, and read once.

Found by title and description, so that an item whose text changes is read anew. In memory only, and never a history.
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
"""Of token ids and texts: some 10,000 items with descriptions of 500 characters."""
_ENTRY_BYTES = 400
"""Python's own objects around an entry."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedItem:
    """An item as token ids.

    Attributes:
        ids: int32, segment B: ``title description [SEP]``.
        title_cut: whether its title did not fit.
        description_cut: whether its description did not, whole or in part.

    """

    ids: NDArray[np.int32]
    title_cut: bool
    description_cut: bool


class ItemTokens:
    """Encoded items by their texts. Safe to share between threads.

    Args:
        max_bytes: of all of them together, texts included; 0 keeps none.

    """

    def __init__(self, max_bytes: int = DEFAULT_ITEM_CACHE_BYTES) -> None:
        self._kept: Lru[tuple[str, str], EncodedItem] = Lru(max_bytes)

    def find(self, items: Sequence[Item]) -> list[EncodedItem | None]:
        """The items that are here, encoded."""
        return self._kept.find([(item.title, item.description) for item in items])

    def keep(self, items: Sequence[Item], encoded: Sequence[EncodedItem]) -> None:
        """Keep encoded items."""
        self._kept.keep(
            (
                (item.title, item.description),
                row,
                sys.getsizeof(item.title) + sys.getsizeof(item.description) + row.ids.nbytes + _ENTRY_BYTES,
            )
            for item, row in zip(items, encoded, strict=True)
        )

    def facts(self) -> dict[str, int]:
        """Entries, bytes, and how often an item was found, as JSON values."""
        return self._kept.facts()
