"""What the APIs of other rerankers call the parts of a request, so that errors use the client's own names."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar

from onyxrank.errors import InvalidInput, NonFiniteScore
from onyxrank.request.items import place_of

ErrorT = TypeVar("ErrorT", bound=InvalidInput | NonFiniteScore)


@dataclass(frozen=True, slots=True)
class Wording:
    """The names of one API.

    Attributes:
        history: name of what the items are ranked for.
        items: name of the list of items, which `item` may hold.
        item: how the API names a field of an item; it may hold ``{index}`` and ``{field}``.

    """

    history: str = "history"
    items: str = "items"
    item: str = "items[{index}].{field}"

    def place(self, field: str, index: int | None) -> str:
        """Name the place that the engine calls by a field and an index."""
        if field in ("history", "items"):
            name = self.history if field == "history" else self.items
            return name if index is None else f"{name}[{index}]"
        return field if index is None else self.item.format(index=index, field=field)

    def worded(self, error: ErrorT) -> ErrorT:
        """Return an error that names its place as the API does, in its message and as its field."""
        field = error.field if isinstance(error, InvalidInput) else "title"
        place = self.place(field, error.index)
        message = str(error)
        for known in (place_of(field, error.index), f"items[{error.index}]"):
            if known in message:
                message = message.replace(known, place)
                break
        made = copy.copy(error)
        made.args = (message,)
        if isinstance(made, InvalidInput):
            made.field, made.index = place, None
        return made


NATIVE = Wording()
QUERY = Wording(history="query")
TEXTS = Wording(history="query", items="texts", item="texts[{index}]")
DOCUMENTS = Wording(history="query", items="documents", item="documents[{index}]")
TENSORS = Wording(items="title", item="{field}[{index}]")
