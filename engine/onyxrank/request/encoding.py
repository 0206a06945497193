"""Makes token ids of the texts of a request.

1. All texts of a request go through the tokenizer in one call, except those of items whose token ids are in the
   item cache. The history is tokenized once, whatever the number of items.
2. An item's text that is far longer than the limit is first cut at a space, to a length that should fill the limit.
   If it turns out not to fill it, the whole text is tokenized. The kept ids are those of the full text either way.
3. A history is read from its newest events on, until the limit is full.
4. The truncation policy takes the tokens that fit, and counts what it leaves out.

Special tokens that are written in the texts ("[SEP]" in a title) are encoded as ordinary characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from onyxrank.errors import InvalidInput
from onyxrank.request.item_tokens import EncodedItem, ItemTokens
from onyxrank.request.items import Item
from onyxrank.request.token_ids import EncodedHistory, EncodedRequest, Ragged
from onyxrank.request.truncation import HISTORY_SEPARATOR, Cuts, Limits, fit_history, fit_item
from onyxrank.request.unknown import unknown_id

_CHARACTERS_PER_TOKEN = 8
"""Characters to read of an overlong text for each token of the limit.

A WordPiece token of English text has 4 to 5 on average, so a second pass is rare.
"""


class UnreadableTitles(InvalidInput):
    """The tokenizer drops every character of some titles.

    Attributes:
        indices: positions of all such items in the request, in order; `index` is the first of them.

    """

    def __init__(self, indices: Sequence[int]) -> None:
        super().__init__(
            f"items[{indices[0]}].title has only characters the tokenizer drops (control characters, say)",
            field="title",
            index=indices[0],
        )
        self.indices = tuple(indices)


class TextEncoder:
    """Tokenizes histories and items under fixed limits. Safe to share between threads.

    Args:
        tokenizer: a tokenizer with a class and a separator token.
        limits: how many content tokens of a history and of an item to keep.
        cls_token: text of the token that opens a pair of history and item.
        sep_token: text of the token that closes each of the two.
        prefix_safe: whether the tokens of a text that was cut at a space are a prefix of those of the whole text.
        cache: cache in which encoded items are kept for other requests, or None to keep none.

    Attributes:
        limits: as given.
        unknown_id: id of the token that stands for what the vocabulary does not know; None if there is none.

    Raises:
        InvalidInput: if the tokenizer does not know the special tokens.

    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        limits: Limits,
        *,
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        prefix_safe: bool = True,
        cache: ItemTokens | None = None,
    ) -> None:
        self.limits = limits
        self._cache = cache
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        special = [tokenizer.token_to_id(token) for token in (cls_token, sep_token)]
        if None in special:
            raise InvalidInput(f"the tokenizer has no {cls_token} or {sep_token} token", field="tokenizer")
        self._cls, self._sep = special
        self.unknown_id = unknown_id(tokenizer)
        self._separator = self._ids([HISTORY_SEPARATOR])[0]
        self._prefix_safe = prefix_safe

    def encode(self, history: Sequence[str] | EncodedHistory, items: Sequence[Item]) -> EncodedRequest:
        """Tokenize one request.

        Args:
            history: the texts of the history, oldest first, or what `encode_history` made of them.
            items: the candidates.

        Raises:
            UnreadableTitles: if the tokenizer drops every character of a title; it names the items.

        """
        known = self._cache.find(items) if self._cache else [None] * len(items)
        new = [index for index, row in enumerate(known) if row is None]
        rows, events = self._read([items[index] for index in new], new, history)
        found = iter(rows)
        encoded = [next(found) if row is None else row for row in known]
        cuts = Cuts(
            titles=sum(row.title_cut for row in encoded), descriptions=sum(row.description_cut for row in encoded)
        )
        return EncodedRequest(
            events.ids,
            Ragged.of([row.ids for row in encoded]),
            cuts + events.cuts,
            events.state,
            tuple(items),
            events.events,
            self._places(items),
        )

    def _read(
        self, items: Sequence[Item], places: Sequence[int], history: Sequence[str] | EncodedHistory
    ) -> tuple[list[EncodedItem], EncodedHistory]:
        """Tokenize the history and the items that are not in the cache, and put these into the cache.

        Args:
            items: the items that are not in the cache.
            places: their positions in the request, for errors.
            history: the history, which is returned as it is if it is encoded already.

        """
        limit, count = self.limits.item_tokens, len(items)
        texts = [self._shorten(item.title, limit) for item in items]
        texts += [self._shorten(item.description, limit) for item in items]
        ids = self._ids(texts if isinstance(history, EncodedHistory) else [*texts, *self._newest(history)])
        titles, descriptions = ids[:count], ids[count : 2 * count]
        self._complete(titles, texts[:count], [item.title for item in items])
        self._complete(descriptions, texts[count:], [item.description for item in items])
        unreadable = [place for place, title in zip(places, titles, strict=True) if not title]
        if unreadable:
            raise UnreadableTitles(unreadable)
        rows = [self._fit(title, description) for title, description in zip(titles, descriptions, strict=True)]
        if self._cache:
            self._cache.keep(items, rows)
        if not isinstance(history, EncodedHistory):
            history = self._whole_history(history, ids[2 * count :])
        return rows, history

    def encode_history(self, events: Sequence[str]) -> EncodedHistory:
        """Tokenize the texts of a history, oldest first, and truncate them."""
        return self._whole_history(events, self._ids(self._newest(events)))

    def facts(self) -> dict[str, object]:
        """Report entries, bytes, hits and misses of the item cache; nothing if there is no cache."""
        return {"item_cache": self._cache.facts()} if self._cache else {}

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of whole texts, without special tokens or truncation."""
        return self._ids(texts)

    def fit_history(self, events: Sequence[Sequence[int]]) -> tuple[list[int], int]:
        """Make segment A of tokenized events, special tokens included, and count the events that were cut."""
        kept, cut = fit_history(events, self._separator, self.limits.history_tokens)
        return [self._cls, *kept, self._sep], cut

    def fit_item(self, title: Sequence[int], description: Sequence[int]) -> list[int]:
        """Make segment B of a tokenized item, the closing separator token included."""
        ids: list[int] = self._fit(title, description).ids.tolist()
        return ids

    def _newest(self, events: Sequence[str]) -> Sequence[str]:
        """Choose the newest events, as many as should fill the limit; there may be many thousand older ones."""
        limit = self.limits.history_tokens
        room, first = limit * _CHARACTERS_PER_TOKEN, len(events)
        while first and room > 0 and len(events) - first <= limit:
            first -= 1
            room -= len(events[first])
        return events[first:]

    def _whole_history(self, events: Sequence[str], tokens: Sequence[Sequence[int]]) -> EncodedHistory:
        """Put a history together, and read older events for as long as they fit.

        Args:
            events: the texts of the whole history, oldest first.
            tokens: the token ids of the newest of them.

        """
        while True:
            older = events[: len(events) - len(tokens)]
            history, full = self._encoded_history(events[len(older) :], tokens)
            if full or not older:
                return replace(history, cuts=history.cuts + Cuts(history_events=len(older)))
            tokens = [*self._ids(self._newest(older)), *tokens]

    def _encoded_history(self, events: Sequence[str], tokens: Sequence[Sequence[int]]) -> tuple[EncodedHistory, bool]:
        """Put a history together of the token ids of its newest events, whose texts are given too.

        Returns:
            The history, and whether it is full, so that no older event fits.

        """
        ids, cut = self.fit_history(tokens)
        return EncodedHistory(np.array(ids, dtype=np.int32), Cuts(history_events=cut)), cut > 0

    def _places(self, items: Sequence[Item]) -> NDArray[np.int32] | None:
        """Find the items among those that the model knows; None where it goes by texts alone."""
        return None

    def _fit(self, title: Sequence[int], description: Sequence[int]) -> EncodedItem:
        ids, title_cut, description_cut = fit_item(title, description, self.limits.item_tokens)
        return EncodedItem(np.array([*ids, self._sep], dtype=np.int32), title_cut, description_cut)

    def _shorten(self, text: str, limit: int) -> str:
        """Cut an overlong text at a space, where it still has more characters than the limit should need."""
        bound = limit * _CHARACTERS_PER_TOKEN
        if not self._prefix_safe or len(text) <= bound:
            return text
        space = text.rfind(" ", bound // 2, bound)
        return text if space < 0 else text[:space]

    def _complete(self, ids: list[list[int]], shortened: Sequence[str], texts: Sequence[str]) -> None:
        """Replace the token ids of the texts whose shortened form did not overfill the limit by the whole text's."""
        limit = self.limits.item_tokens
        again = [
            index
            for index, text in enumerate(texts)
            if len(shortened[index]) < len(text) and len(ids[index]) <= limit
        ]
        for index, whole in zip(again, self._ids([texts[index] for index in again]), strict=True):
            ids[index] = whole

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]
