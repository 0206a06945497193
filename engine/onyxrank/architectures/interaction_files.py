"""Reads and writes the score of late interaction: a folder of numbers, without pickle and without any text.

interaction.json      the weights of the terms
known/ids.npy         hashes of the ids of the items that were bought in training; titles.npy, counts.npy likewise
TERM/events.npy       maps and residuals of a vector term: items.npy, event_residuals.npy, item_residuals.npy
TERM/starts.npy       the matrix of a neighbour term: places.npy, weights.npy
TERM/values.npy       the values of an item term
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.interaction import Interaction, ItemTerm, Maps, NeighbourTerm, VectorTerm
from onyxrank.errors import BundleError, InvalidInput
from onyxrank.request.known import KnownItems

FOLDER = "interaction"
"""Name of the folder in a run and in a bundle."""
_FILE = "interaction.json"
_MAPS = ("events", "items", "event_residuals", "item_residuals")
_ROWS = ("starts", "places", "weights")
_KNOWN = ("ids", "titles", "counts")
_VALUES = ("values",)


def write_interaction(folder: Path, interaction: Interaction, known: KnownItems) -> None:
    """Write a score and the items that it knows into a folder, which is made."""
    folder.mkdir(parents=True)
    _save(folder / "known", {name: getattr(known, name) for name in _KNOWN})
    for name, term in interaction.vectors.items():
        if term.maps is not None:
            _save(folder / name, {each: getattr(term.maps, each) for each in _MAPS})
    for name, neighbour in interaction.neighbours.items():
        _save(folder / name, {each: getattr(neighbour, each) for each in _ROWS})
    for name, item in interaction.items.items():
        _save(folder / name, {"values": item.values})
    content = {
        "known": interaction.known,
        "vectors": {
            name: {
                "weight": term.weight,
                "temperature": term.temperature,
                "recency": term.recency,
                "center": term.center,
                "mapped": term.maps is not None,
            }
            for name, term in interaction.vectors.items()
        },
        "neighbours": {
            name: {"weight": neighbour.weight, "recency": neighbour.recency}
            for name, neighbour in interaction.neighbours.items()
        },
        "items": {name: {"weight": item.weight, "new": item.new} for name, item in interaction.items.items()},
        "bias": interaction.bias,
    }
    (folder / _FILE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_interaction(folder: Path) -> Interaction:
    """Read the score that `write_interaction` wrote.

    Raises:
        BundleError: if a file is missing or damaged; it names the folder.

    """
    with _damage_named(folder):
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        vectors = {
            name: VectorTerm(
                weight=float(told["weight"]),
                temperature=float(told["temperature"]),
                recency=float(told["recency"]),
                center=float(told["center"]),
                maps=Maps(**_load(folder / name, _MAPS)) if told["mapped"] else None,
            )
            for name, told in content["vectors"].items()
        }
        neighbours = {
            name: NeighbourTerm(
                weight=float(told["weight"]),
                recency=float(told["recency"]),
                **_load(folder / name, _ROWS),
            )
            for name, told in content["neighbours"].items()
        }
        items = {
            name: ItemTerm(weight=float(told["weight"]), new=float(told["new"]), **_load(folder / name, _VALUES))
            for name, told in content["items"].items()
        }
        return Interaction(
            known=int(content["known"]),
            vectors=vectors,
            neighbours=neighbours,
            items=items,
            bias=float(content["bias"]),
        )


def read_known(folder: Path) -> KnownItems:
    """Read the items that the score knows.

    Raises:
        BundleError: if a file is missing or damaged; it names the folder.

    """
    with _damage_named(folder):
        return KnownItems(**_load(folder / "known", _KNOWN))


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidInput) as error:
        raise BundleError(
            f"the score in {folder} cannot be read ({type(error).__name__}: {error}); export the bundle again"
        ) from error


def _save(folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _load(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
