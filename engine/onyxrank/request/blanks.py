"""Ranks lists in which some items have no text, for interfaces whose callers expect an answer to them.

1. Items without a text are set apart. An item that has only a description is ranked by that.
2. The others are ranked. If the tokenizer drops every character of some titles, those items are set apart too, and
   the rest is ranked again.
3. What was set apart comes last, in input order, with a probability of 0.

`Ranker.rank` itself refuses an item without a text, because its caller can say why the text is missing.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from onyxrank.errors import InvalidInput, NonFiniteScore
from onyxrank.request.encoding import UnreadableTitles
from onyxrank.request.items import Item, to_items
from onyxrank.request.ranking import Hit, Ranking

ErrorT = TypeVar("ErrorT", bound=InvalidInput | NonFiniteScore)

NO_MARGIN = -708.0
"""Margin of an item without a text. Its probability is as near to 0 as a caller can compute without an overflow."""


class WithBlanks:
    """The items of one request, some of which may have no text.

    Rank `readable`. On `UnreadableTitles`, call `set_apart` and rank again; the error names all such items, so this
    ends after a round or two.

    Args:
        items: the items, or their titles.

    Raises:
        InvalidInput: if a field of an item is no text; it names the item's index and field.

    """

    def __init__(self, items: Sequence[Item | str]) -> None:
        self._items = to_items(items, blank=True)
        self._ranked = {index: item for index, item in enumerate(map(_readable, self._items)) if item is not None}

    @property
    def readable(self) -> list[Item]:
        """The items that have a text, in input order."""
        return list(self._ranked.values())

    def set_apart(self, error: UnreadableTitles) -> None:
        """Set the items apart whose titles the tokenizer drops, unless they have a description to be ranked by."""
        places = list(self._ranked)
        for place in (places[index] for index in error.indices):
            described = _readable(replace(self._ranked.pop(place), title=""))
            if described is not None:
                self._ranked[place] = described
        self._ranked = dict(sorted(self._ranked.items()))

    def ranking(self, ranking: Ranking, top_k: int | None) -> Ranking:
        """Make the ranking of all items.

        Args:
            ranking: the ranking of `readable`, made with the same `top_k`.
            top_k: most hits to return, or None for all.

        """
        places = list(self._ranked)
        if len(places) == len(self._items) and all(map(operator.is_, self._ranked.values(), self._items)):
            return ranking
        hits = [
            replace(hit, index=places[hit.index], id=item.id, item=item)
            for hit in ranking
            for item in (self._items[places[hit.index]],)
        ]
        margin = min(hits[-1].margin, NO_MARGIN) if hits else NO_MARGIN
        for index, item in enumerate(self._items):
            if index not in self._ranked and (top_k is None or len(hits) < top_k):
                hits.append(Hit(len(hits) + 1, index, item.id, 0.0, item, margin))
        return replace(ranking, hits=tuple(hits), total=len(self._items))

    def placed(self, error: ErrorT) -> ErrorT:
        """Return an error of ranking `readable` as one that names the item by its place among all items."""
        if error.index is None or getattr(error, "field", "") == "history":
            return error
        place = list(self._ranked)[error.index]
        made = copy.copy(error)
        made.index = place
        made.args = (str(error).replace(f"items[{error.index}]", f"items[{place}]"),)
        return made


def rank_with_blanks(
    items: Sequence[Item | str], rank: Callable[[list[Item]], Ranking], top_k: int | None
) -> Ranking:
    """Rank items of which some may have no text.

    Args:
        items: the items, or their titles.
        rank: function that ranks items which all have a text, and returns at most `top_k` hits.
        top_k: most hits to return, or None for all.

    Raises:
        OnyxrankError: as `rank` does; it names an item by its place in `items`.

    """
    listed = WithBlanks(items)
    while True:
        try:
            return listed.ranking(rank(listed.readable), top_k)
        except UnreadableTitles as error:
            listed.set_apart(error)
        except (InvalidInput, NonFiniteScore) as error:
            raise listed.placed(error) from error


def _readable(item: Item) -> Item | None:
    """Return the item if it has a title, or with its description in place of the title, or None if both are blank."""
    if item.title.strip():
        return item
    return replace(item, title=item.description, description="") if item.description.strip() else None
