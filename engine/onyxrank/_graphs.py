"""The ONNX graphs that each architecture runs, and the names at their edges.

A variant of a bundle names one file per role. Zero-filled token types would be wrong for every pair, so a
graph without that input is refused, not helped along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Graph:
    """Names at the edges of one graph.

    Attributes:
        inputs: names that the graph must have, and no other.
        outputs: names that the graph must have, in the order in which a session returns them.

    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


ARCHITECTURES: Mapping[str, Mapping[str, Graph]] = {
    "cross": {"model": Graph(("input_ids", "attention_mask", "token_type_ids"), ("logits",))},
}
"""Graphs by role, of each architecture by name."""
