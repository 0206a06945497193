"""Makes token ids for models that encode every event and every item by itself.

1. Of an event its title is read, ``[CLS] title [SEP]``, and of an item ``[CLS] title description [SEP]``, each up to
   the limit of an item.
2. Of a history the newest events are kept whose tokens together are within the limit of the history; the newest one
   is always kept.
3. Events and items are looked up among those that the model knows (`known`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from onyxrank.request.encoding import TextEncoder
from onyxrank.request.item_tokens import EncodedItem
from onyxrank.request.items import Item
from onyxrank.request.known import KnownItems
from onyxrank.request.token_ids import EncodedHistory, Events, Ragged
from onyxrank.request.truncation import Cuts, Limits, fit_item

SPECIAL_TOKENS = 2
"""``[CLS]`` and ``[SEP]`` of each text, which the limits do not count."""


class ApartEncoder(TextEncoder):
    """Tokenizes events and items apart. Safe to share between threads; see `TextEncoder` for the other arguments.

    Args:
        tokenizer: a tokenizer with a class and a separator token.
        limits: how many content tokens of a history and of an item to keep.
        known: the items that the model knows.

    """

    def __init__(self, tokenizer: Tokenizer, limits: Limits, known: KnownItems, **options: Any) -> None:
        super().__init__(tokenizer, limits, **options)
        self._known = known

    def _encoded_history(self, events: Sequence[str], tokens: Sequence[Sequence[int]]) -> tuple[EncodedHistory, bool]:
        texts = [self.fit_event(event) for event in tokens]
        newest = first_kept([len(text) - SPECIAL_TOKENS for text in texts], self.limits.history_tokens)
        cut = newest + sum(len(event) > self.limits.item_tokens for event in tokens[newest:])
        ragged = Ragged.of(texts[newest:])
        places = self._known.places_of_titles(events[newest:])
        return EncodedHistory(ragged.ids, Cuts(history_events=cut), events=Events(ragged, places)), newest > 0

    def fit_event(self, title: Sequence[int]) -> list[int]:
        """Make the text of a tokenized event, special tokens included."""
        return [self._cls, *title[: self.limits.item_tokens], self._sep]

    def _fit(self, title: Sequence[int], description: Sequence[int]) -> EncodedItem:
        ids, title_cut, description_cut = fit_item(title, description, self.limits.item_tokens)
        return EncodedItem(np.array([self._cls, *ids, self._sep], np.int32), title_cut, description_cut)

    def _places(self, items: Sequence[Item]) -> NDArray[np.int32]:
        return self._known.places_of(items)


def first_kept(lengths: Sequence[int], limit: int) -> int:
    """Choose the newest events that fit: the index of the oldest of them.

    Args:
        lengths: number of content tokens of each event, oldest first.
        limit: most tokens of all; the newest event is kept in any case.

    """
    room = limit
    for index in range(len(lengths) - 1, -1, -1):
        room -= lengths[index]
        if room < 0 and index < len(lengths) - 1:
            return index + 1
    return 0
