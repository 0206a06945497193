"""The edges of an ONNX graph: which inputs it must have, of which types, and which outputs.

Zero-filled token types would be wrong for every pair, so that a graph without an input that its architecture feeds is
refused, not helped along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Graph:
    """What an architecture expects of one of its graphs.

    Attributes:
        inputs: type of every input by name; the graph must have these and no others. Those of int64 are rows of
            tokens, [rows, tokens].
        outputs: names that the graph must have, in the order in which a session returns them.
        kept: those outputs that another graph reads: a session may leave them on the device that computed them.

    """

    inputs: Mapping[str, type[np.generic]]
    outputs: tuple[str, ...]
    kept: frozenset[str] = frozenset()

    @property
    def token_inputs(self) -> tuple[str, ...]:
        """Names of the inputs of shape [rows, tokens]."""
        return tuple(name for name, kind in self.inputs.items() if kind is np.int64)

    @property
    def is_masked(self) -> bool:
        """Whether padding leaves the answer as it is, because an ``attention_mask`` hides it."""
        return "attention_mask" in self.inputs
