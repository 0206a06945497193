"""Recipes: options of ``onyxrank train`` kept in a JSON file, so that all who train alike read them from one place.

A recipe is an object whose keys are the options' names with underscores, such as ``{"batch_size": 64, "own_zeros":
false}``. What it does not name keeps its default. Each architecture has a recipe of its own in ``recipes``, by which
it is trained for the quality table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onyxrank.architectures.registry import CROSS, LATE_INTERACTION, SHARED_HISTORY
from onyxrank.errors import InvalidInput

_BUILT_IN = Path(__file__).with_name("recipes")
_OF_ARCHITECTURES = {CROSS: "quality", SHARED_HISTORY: "quality", LATE_INTERACTION: "late-interaction"}


def built_in_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with this package."""
    return tuple(sorted(path.stem for path in _BUILT_IN.glob("*.json")))


def recipe_of(arch: str) -> dict[str, Any]:
    """Read the recipe of an architecture; of one that does not exist there is none."""
    return read_recipe(_OF_ARCHITECTURES[arch]) if arch in _OF_ARCHITECTURES else {}


def read_recipe(recipe: str) -> dict[str, Any]:
    """Read the options of a recipe, by name.

    Args:
        recipe: the name of a built-in recipe such as ``quality``, or the path of a JSON file.

    Returns:
        Values as `TrainingConfig.from_options` takes them.

    Raises:
        InvalidInput: if there is no such recipe, or it is not a JSON object of plain values.

    """
    path = _BUILT_IN / f"{recipe}.json" if recipe in built_in_recipes() else Path(recipe)
    if not path.is_file():
        names = ", ".join(built_in_recipes())
        raise InvalidInput(f"there is no recipe '{recipe}'; name a JSON file, or one of {names}", field="recipe")
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        options = None
    plain = (str, int, float, bool)
    if not isinstance(options, dict) or not all(isinstance(value, plain) for value in options.values()):
        raise InvalidInput(f"the recipe '{recipe}' is not a JSON object of options and their values", field="recipe")
    return options
