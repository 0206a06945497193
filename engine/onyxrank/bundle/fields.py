"""Reads a JSON document field by field: a key missing, unknown or of the wrong type is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from onyxrank.errors import BundleError

T = TypeVar("T")
Fault = Callable[[str], BundleError]
"""Makes the error about a document's content of what is wrong with it."""

_KINDS: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a string",
}


def fault(message: str) -> BundleError:
    """Make an error about the manifest's content."""
    return BundleError(f"onyxrank.json is damaged: {message}; export the bundle again")


class Fields:
    """One JSON object of a document.

    Args:
        value: the parsed JSON value.
        place: where it stands, such as ``variants[0]``; empty for the whole document.
        fault: makes the errors; by default those of the manifest.

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
            BundleError: if the key is missing or its value is not of that kind.

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
        """Return the free-form object under a required key as it is; null gives None."""
        return None if self._is_null(key) else self.take(key, dict)

    def take_strings(self, key: str) -> tuple[str, ...]:
        """Return the strings of the list under a required key."""
        values = self.take(key, list)
        return tuple(
            checked(value, str, f"{self._at(key)}[{index}]", self._fault) for index, value in enumerate(values)
        )

    def finish(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            BundleError: naming them.

        """
        unknown = sorted(set(self._fields) - self._taken)
        if unknown:
            raise self._fault(f"{', '.join(self._at(key) for key in unknown)}: no such key in this schema version")

    def _is_null(self, key: str) -> bool:
        null = key in self._fields and self._fields[key] is None
        if null:
            self._taken.add(key)
        return null

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key


def checked(value: object, kind: type[T], place: str, fault: Fault = fault) -> T:
    """Return a JSON value of the kind asked for; a whole number will do for a float.

    Raises:
        BundleError: for any other value, without quoting it.

    """
    if kind is float and type(value) is int:
        return float(value)  # type: ignore[return-value]
    # JSON's true is a bool, which Python would also accept as an int.
    if type(value) is not kind:
        raise fault(f"{place} must be {_KINDS[kind]}, not {'null' if value is None else type(value).__name__}")
    return value


def check_path(path: str) -> None:
    """Refuse a path that could leave the bundle's folder on any system, or that has two spellings.

    Raises:
        BundleError: naming the path.

    """
    pure = PurePosixPath(path)
    clean = str(pure) == path and path != "." and ".." not in pure.parts and not pure.is_absolute()
    if not clean or any(character in path for character in "\\:\0"):
        raise BundleError(
            f"onyxrank.json names the path {path!r}, which is not a plain path inside the bundle; "
            "do not load this bundle, get it again from where you trust"
        )
