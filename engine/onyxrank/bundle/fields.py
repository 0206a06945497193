"""Reads a JSON document field by field, strictly.

A key that is missing, unknown, or holds a value of the wrong type is an error that names the key's place. No value is
quoted in a message, since a document may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from onyxrank.errors import BundleError

T = TypeVar("T")
Fault = Callable[[str], BundleError]
"""A function that makes the error for a document out of a sentence that says what is wrong with its content."""

_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a string",
}


def fault(message: str) -> BundleError:
    """Make an error that says what is wrong with the manifest's content."""
    return BundleError(f"onyxrank.json is damaged: {message}; export the bundle again")


class Fields:
    """One JSON object of a document, whose keys are taken one by one.

    Args:
        value: the parsed JSON value.
        place: where the object stands in the document, such as ``variants[0]``; empty for the whole document.
        fault: function that makes the errors; by default they are about the manifest.

    Raises:
        BundleError: if the value is not an object.

    """

    def __init__(self, value: object, place: str = "", fault: Fault = fault) -> None:
        self._place = place
        self._fault = fault
        self._fields: dict[str, Any] = dict(checked(value, dict, place or "it", fault))
        self._taken: set[str] = set()

    def take(self, key: str, kind: type[T]) -> T:
        """Return the value of a required key.

        Raises:
            BundleError: if the key is missing or its value is not of the type `kind`.

        """
        place = self._at(key)
        if key not in self._fields:
            raise self._fault(f"{place} is missing")
        self._taken.add(key)
        return checked(self._fields[key], kind, place, self._fault)

    def take_object(self, key: str) -> Fields:
        """Return the object under a required key."""
        return Fields(self.take(key, dict), self._at(key), self._fault)

    def take_report(self, key: str) -> Mapping[str, Any] | None:
        """Return the free-form object under a required key as it is, or None where the document has null."""
        return None if self._is_null(key) else self.take(key, dict)

    def take_strings(self, key: str) -> tuple[str, ...]:
        """Return the strings of the list under a required key."""
        return self._take_all(key, str)

    def take_numbers(self, key: str) -> tuple[float, ...]:
        """Return the numbers of the list under a required key."""
        return self._take_all(key, float)

    def finish(self) -> None:
        """Refuse the object if it has keys that nobody took.

        Raises:
            BundleError: if there are such keys; it names them.

        """
        unknown = sorted(set(self._fields) - self._taken)
        if unknown:
            raise self._fault(f"{', '.join(self._at(key) for key in unknown)}: no such key in this schema version")

    def _take_all(self, key: str, kind: type[T]) -> tuple[T, ...]:
        values = self.take(key, list)
        return tuple(
            checked(value, kind, f"{self._at(key)}[{index}]", self._fault) for index, value in enumerate(values)
        )

    def _is_null(self, key: str) -> bool:
        null = key in self._fields and self._fields[key] is None
        if null:
            self._taken.add(key)
        return null

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key


def checked(value: object, kind: type[T], place: str, fault: Fault = fault) -> T:
    """Return a JSON value if it is of the type asked for; a whole number is accepted as a float.

    Args:
        value: the parsed JSON value.
        kind: the type that it must have.
        place: where the value stands in the document.
        fault: function that makes the error.

    Raises:
        BundleError: if the value is of another type; the message does not quote it.

    """
    if kind is float and type(value) is int:
        return float(value)  # type: ignore[return-value]
    # JSON's true becomes a bool, which isinstance() would accept as an int.
    if type(value) is not kind:
        raise fault(f"{place} must be {_TYPE_NAMES[kind]}, not {'null' if value is None else type(value).__name__}")
    return value


def check_path(path: str) -> None:
    """Refuse a path that could leave the bundle's folder on any system, or that is not in its shortest spelling.

    Raises:
        BundleError: if the path is such a path; it names it.

    """
    pure = PurePosixPath(path)
    clean = str(pure) == path and path != "." and ".." not in pure.parts and not pure.is_absolute()
    if not clean or any(character in path for character in "\\:\0"):
        raise BundleError(
            f"onyxrank.json names the path {path!r}, which is not a plain path inside the bundle; "
            "do not load this bundle, get it again from where you trust"
        )
