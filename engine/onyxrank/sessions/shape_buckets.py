"""Pads micro-batches to few shapes, for providers on which the first run of every new shape takes longer.

Such a provider finds memory and chooses kernels for each shape that it has not seen, so shapes should repeat.

1. There are eight sizes in each doubling (… 64, 72, 80 … 128, 144 …). A size is rounded up to the next of them, so
   that at most an eighth of it is padding, and never above what the bundle's limits allow.
2. Rows and tokens are padded to these sizes. Padded tokens are masked, and padded rows are cut from the outputs.
3. A graph without a mask cannot be padded. It runs at the size of its input, as that of a history does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onyxrank.sessions.arrays import Array, Feeds, on_host
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.session import Session, SessionInfo

TOKEN_STEP = 8
"""Tokens are padded to multiples of this, the size for which the matrix units of GPUs are built."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the largest arrays that a graph is run on.

    Attributes:
        rows: number of rows in a micro-batch.
        tokens: number of tokens in a row.
        state: number of positions in the arrays that another graph made, such as the keys of a history; 0 if the
            graph does not take any.

    """

    rows: int
    tokens: int
    state: int = 0


def most_rows(micro_batch_tokens: int) -> int:
    """The largest number of rows, rounded up, that a micro-batch within that budget of tokens is padded to."""
    return max(1, bucket(micro_batch_tokens // TOKEN_STEP))


def bucket(count: int, step: int = 1, most: int | None = None) -> int:
    """Round a size up to the next of eight in its doubling.

    Args:
        count: the size.
        step: the result is a multiple of this, a power of two, unless that would be above `most`.
        most: the largest result, or None for no limit; a `count` above it is returned as it is.

    """
    step = max(step, 1 << max(0, (count - 1).bit_length() - 4))
    size = -(-count // step) * step
    return size if most is None else max(count, min(size, most))


class Bucketed:
    """A `Session` that pads micro-batches before another session runs them, so that few shapes occur.

    Args:
        session: the session that runs them, of a graph with an ``attention_mask``; it is closed with this one.
        graph: the graph's inputs and outputs.
        sizes: the sizes of the largest arrays that the graph is run on.

    """

    def __init__(self, session: Session, graph: Graph, sizes: Sizes) -> None:
        self._session = session
        self._padded = graph.token_inputs
        self._sizes = sizes

    def run(self, feeds: Feeds) -> list[Array]:
        """Run the graph on padded arrays and cut the padding from its outputs; see `Session.run`."""
        rows, most = feeds["input_ids"].shape[0], self._sizes.rows
        if rows <= most:
            return self._run(feeds)
        # A micro-batch of very short items can have more rows than the largest arrays.
        parts = []
        for start in range(0, rows, most):
            own = {name: on_host(feeds[name])[start : start + most] for name in self._padded}
            parts.append(self._run({**feeds, **own}))
        return [np.concatenate(list(map(on_host, outputs))) for outputs in zip(*parts, strict=True)]

    def _run(self, feeds: Feeds) -> list[Array]:
        rows, tokens = feeds["input_ids"].shape
        missing = (bucket(rows) - rows, bucket(tokens, TOKEN_STEP, self._sizes.tokens) - tokens)
        padded = dict(feeds)
        for name in self._padded:
            # Padded tokens are masked. Padded rows repeat the last row, since a row in which everything is masked
            # gives NaN.
            wider = np.pad(on_host(feeds[name]), ((0, 0), (0, missing[1])))
            padded[name] = np.pad(wider, ((0, missing[0]), (0, 0)), mode="edge")
        return [on_host(output)[:rows] for output in self._session.run(padded)]

    def info(self) -> SessionInfo:
        """Report what the padded session really uses."""
        return self._session.info()

    def close(self) -> None:
        """Free the graph."""
        self._session.close()
