"""The ONNX graphs that each architecture runs, and the names at their edges.

A variant of a bundle names one file per role. Zero-filled token types would be wrong for every pair, so a
graph without that input is refused, not helped along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CROSS, SHARED_HISTORY = "cross", "shared-history"
HISTORY, ITEMS = "history", "items"
"""Roles of shared-history's graphs; the first runs once per request."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Names at the edges of one graph.

    Attributes:
        inputs: names of int64 inputs that the graph must have.
        outputs: names that the graph must have, in the order in which a session returns them.
        float_inputs: names of float32 inputs that it must have; there are no others.

    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    float_inputs: tuple[str, ...] = ()


KEY_STEP = 16
"""Histories are exported to have keys, those that stand for an item's own tokens included, in multiples of this."""

Feeds = Mapping[str, NDArray[np.int64] | NDArray[np.float32]]
"""Arrays by input name, of the types that `Graph` says."""

PAIR = Graph(("input_ids", "attention_mask", "token_type_ids"), ("logits",))
"""The ordinary graph over ``[CLS] history [SEP] item [SEP]``, which other ONNX hosts run too."""

ARCHITECTURES: Mapping[str, Mapping[str, Graph]] = {
    CROSS: {"model": PAIR},
    SHARED_HISTORY: {
        HISTORY: Graph(("input_ids",), ("keys", "values")),
        ITEMS: Graph(("input_ids", "attention_mask"), ("logits",), ("keys", "values")),
    },
}
"""Graphs by role, of each architecture by name. What the two of shared-history pass on is in `HistoryState`."""
