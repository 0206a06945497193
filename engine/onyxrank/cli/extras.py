"""Loads the parts of the program that need more than the engine's own dependencies."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from onyxrank.errors import MissingExtra


def load(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module of an extra.

    Raises:
        MissingExtra: naming the extra to install, if one of its packages is missing.

    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(extra, purpose, error.name) from error


def require(package: str, *, extra: str, purpose: str) -> None:
    """Make sure that a package is there, without the seconds that importing it takes.

    Raises:
        MissingExtra: naming the extra to install, if it is not.

    """
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtra(extra, purpose, package)
