"""Finds and counts the token that stands for what a vocabulary does not know."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """Find the id of a tokenizer's unknown token; None for one that has none, such as byte-level BPE."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_token") is not None:
        found: int | None = tokenizer.token_to_id(model["unk_token"])
        return found
    place: int | None = model.get("unk_id")
    return place


def count_unknown(ids: Sequence[int] | NDArray[np.int32], unknown: int | None) -> int:
    """Count the unknown tokens among token ids."""
    if unknown is None:
        return 0
    return int(np.count_nonzero(ids == unknown)) if isinstance(ids, np.ndarray) else ids.count(unknown)
