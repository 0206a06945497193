"""Types of values in bodies that several APIs take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StrictBool, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from onyxrank.request.items import MOST_EVENTS

MAX_ITEMS = "max_items"
"""Key of the most items of a request in the context of validation."""
TOO_MANY = "too_many"
"""Type of the fault of a list that is too long."""


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("lone_surrogate", "has a lone surrogate, which no answer can carry") from None
    return text


_WORDS = {"true": True, "false": False}
Flag = Annotated[
    StrictBool,
    BeforeValidator(lambda value: _WORDS.get(value, value) if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": list(_WORDS)}]}),
]
"""true or false, for which some clients send the words as texts."""
Name = Annotated[str, AfterValidator(_writable)]
"""A text that comes back in answers."""


def _counted(values: Any, most: int) -> Any:
    if isinstance(values, list) and len(values) > most:
        raise PydanticCustomError(TOO_MANY, f"{len(values)} are more than the {most} allowed")
    return values


def _counted_items(values: Any, info: ValidationInfo) -> Any:
    return _counted(values, info.context[MAX_ITEMS]) if info.context else values


COUNTED_ITEMS = BeforeValidator(_counted_items)
"""Counts the items of a request before it looks at them, since each that is looked at costs far more than one."""
COUNTED_EVENTS = BeforeValidator(lambda values: _counted(values, MOST_EVENTS))
"""Counts the events of a history before it looks at them."""
