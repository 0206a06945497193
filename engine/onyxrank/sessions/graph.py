"""The ONNX graphs that each architecture runs, and the names at their edges.

A variant of a bundle names one file per role. Zero-filled token types would be wrong for every pair, so a
graph without that input is refused, not helped along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


Feeds = Mapping[str, NDArray[np.int64] | NDArray[np.float32]]
"""Arrays by input name, of the types that `Graph` says."""
