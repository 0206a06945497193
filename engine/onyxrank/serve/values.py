"""Types of values in bodies that several APIs take."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, StrictBool, WithJsonSchema
from pydantic_core import PydanticCustomError


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
