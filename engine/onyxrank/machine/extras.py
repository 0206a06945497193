"""Loads modules that need packages which the engine itself does not: those of the extras of `pip install`.

The name of the module is a string, so that the engine can load a part of the program which it may not import, such as
the training of `onyxrank_export`, and say which extra to install where a package is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from onyxrank.errors import MissingExtra


def load(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module that needs the packages of an extra.

    Args:
        module: full name of the module.
        extra: name of the extra that brings its packages.
        purpose: what the module is needed for; the error begins with it.

    Raises:
        MissingExtra: if a package is not installed; it names the extra to install.

    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(extra, purpose, error.name) from error


def require(package: str, *, extra: str, purpose: str) -> None:
    """Make sure that a package is installed without importing it, which can take seconds.

    Args:
        package: name of the package.
        extra: name of the extra that brings it.
        purpose: what the package is needed for; the error begins with it.

    Raises:
        MissingExtra: if the package is not installed; it names the extra to install.

    """
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtra(extra, purpose, package)
