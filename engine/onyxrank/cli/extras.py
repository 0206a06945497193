"""Loads the parts of the program that need more than the engine's own dependencies."""

from __future__ import annotations

import importlib
from types import ModuleType

from onyxrank._errors import MissingExtra


def load(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module of an extra.

    Raises:
        MissingExtra: naming the extra to install, if one of its packages is missing.

    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(extra, purpose, error.name) from error
