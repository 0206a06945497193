"""Checks the items and the history that a caller hands in, and makes values of them.

Nothing is repaired silently. A title that is missing, blank, or not text is an error that names the item's index and
the field, because a candidate without a text would still take a place in the ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from numbers import Integral, Real
from typing import Any, TypeAlias

from onyxrank.checks import shown
from onyxrank.errors import InvalidInput
from onyxrank.request.tables import Table, as_frame, item_columns, item_rows

FIELD_NAMES = {
    "id": ("item_id", "id"),
    "title": ("item_title", "title"),
    "description": ("item_description", "description"),
}
"""The names under which mappings and tables may give each field of an item.

The first name that exists counts. The longer one comes first, because a column ``id`` may number a table's rows.
"""

_EXACT_FLOATS = 2**53
"""Below it a float is the whole number that it seems to be."""


@dataclass(frozen=True, slots=True)
class Item:
    """A candidate to rank.

    Attributes:
        id: the caller's own identifier, any string. Two items may have the same one, since hits carry the index too.
        title: the item's name; it must hold some text.
        description: more text about the item, which is read as far as the token limit allows.

    """

    id: str
    title: str
    description: str = ""


ItemLike: TypeAlias = Item | Mapping[str, object] | str
Items: TypeAlias = Iterable[ItemLike] | Table
History: TypeAlias = str | Sequence[str]
MOST_EVENTS = 100_000
"""Most events of a history. All of them are checked, though models read the newest few hundred at most."""


def to_items(items: Items, *, blank: bool = False) -> tuple[Item, ...]:
    """Check candidates and make values of them, in input order.

    Args:
        items: ``Item``s, mappings with ``item_id``/``id``, ``item_title``/``title`` and optionally
            ``item_description``/``description``, or plain strings (titles; the id is then the position). Or a
            pandas, polars or pyarrow table with columns of these names; a null description counts as empty.
        blank: whether titles may be blank.

    Raises:
        InvalidInput: if a candidate cannot be ranked; it names the index and the field of the first such one.

    """
    frame = as_frame(items)
    listed: Any = items
    if frame is not None:
        listed = item_rows(frame, item_columns(frame, FIELD_NAMES, "title"))
    elif isinstance(items, str | bytes | Mapping | set | frozenset) or not is_listed(items):
        raise InvalidInput(
            f"items must be a list of items or a pandas, polars or pyarrow table, not {type(items).__name__}; put a "
            "single item in a list",
            field="items",
        )
    return tuple(_to_item(index, item, blank) for index, item in enumerate(listed))


def to_events(history: History) -> tuple[str, ...]:
    """Check a history and return its events, oldest first; an empty history gives no events.

    Raises:
        InvalidInput: if the history is not text or a sequence of texts, has too many events, or an event is blank.

    """
    if isinstance(history, str):
        return (_text(history, "history", None),) if history.strip() else ()
    if isinstance(history, bytes | Mapping | set | frozenset) or not is_listed(history):
        raise InvalidInput(
            f"history must be a string or a sequence of strings, oldest first, not {type(history).__name__}",
            field="history",
        )
    events = tuple(islice(history, MOST_EVENTS + 1))
    if len(events) > MOST_EVENTS:
        raise InvalidInput(
            f"history has more than {MOST_EVENTS} events; leave the oldest out, which no model reads", field="history"
        )
    return tuple(_filled(_text(event, "history", index), "history", index) for index, event in enumerate(events))


def is_listed(value: object) -> bool:
    """Whether iterating over a value gives the entries that the caller meant.

    Iterating over a table of an unknown library would give the names of its columns, and an array of no dimension
    cannot be iterated over.
    """
    return isinstance(value, Iterable) and not hasattr(value, "columns") and getattr(value, "ndim", 1) == 1


def _to_item(index: int, item: ItemLike, blank: bool) -> Item:
    identity: object
    title: object
    description: object
    if isinstance(item, Item):
        identity, title, description = item.id, item.title, item.description
    elif isinstance(item, str):
        identity, title, description = str(index), item, ""
    elif isinstance(item, Mapping):
        identity = _get(item, "id", default=str(index))
        title = _get(item, "title", index=index)
        description = _get(item, "description", default="")
    else:
        raise InvalidInput(
            f"items[{index}] is {type(item).__name__}; give an onyxrank.Item, a mapping or a title string",
            field="item",
            index=index,
        )
    identity = _written(identity, index)
    checked = _text(title, "title", index)
    if not blank:
        _filled(checked, "title", index)
    return Item(_text(identity, "id", index), checked, _text(description, "description", index))


def _written(identity: object, index: int) -> object:
    """Write a whole number as its digits, as training does; anything else is returned as it is.

    A float counts as a whole number where every one of its size is exact, since libraries of tables make floats of
    whole numbers where a value is missing.
    """
    if isinstance(identity, Real) and not isinstance(identity, Integral):
        value = float(identity)
        identity = int(value) if value.is_integer() and abs(value) < _EXACT_FLOATS else identity
    if not isinstance(identity, Integral) or isinstance(identity, bool):
        return identity
    try:
        return str(int(identity))
    except ValueError:  # Python writes no whole number of thousands of digits
        raise InvalidInput(
            f"{place_of('id', index)} must be a string, not {shown(identity)}", field="id", index=index
        ) from None


def _get(item: Mapping[str, object], field: str, *, index: int = 0, default: object = ...) -> object:
    for name in FIELD_NAMES[field]:
        if name in item:
            return item[name]
    if default is not ...:
        return default
    raise InvalidInput(
        f"items[{index}] has no {field}; give it under {' or '.join(map(repr, FIELD_NAMES[field]))}",
        field=field,
        index=index,
    )


def place_of(field: str, index: int | None) -> str:
    """Name the place of a fault for a message: ``history[2]``, ``items[3].title``, or the field if index is None."""
    if index is None:
        return field
    return f"history[{index}]" if field == "history" else f"items[{index}].{field}"


def _text(value: object, field: str, index: int | None) -> str:
    if not isinstance(value, str):
        hint = "; leave the field out when there is none" if value is None and field == "description" else ""
        raise InvalidInput(
            f"{place_of(field, index)} must be a string, not {type(value).__name__}{hint}",
            field=field,
            index=index,
        )
    # Only text that is not ASCII can have a lone surrogate. Most text is ASCII, and `isascii` only reads a flag.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"{place_of(field, index)} has a lone surrogate at character {error.start}: it was decoded "
                "wrongly; decode it as UTF-8 with errors='replace'",
                field=field,
                index=index,
            ) from None
    return value


def _filled(text: str, field: str, index: int) -> str:
    if not text.strip():
        hint = "leave the event out" if field == "history" else "an item needs some text to be ranked by"
        raise InvalidInput(f"{place_of(field, index)} is empty; {hint}", field=field, index=index)
    return text
