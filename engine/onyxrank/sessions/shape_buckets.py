"""Sizes that repeat, for providers to which every new shape costs: memory is found for it and kernels are chosen.

1. A size is rounded up to one of eight per doubling, so that at most an eighth of it is padding, and no further than
   the bundle's limits allow.
2. Rows and tokens are padded to such sizes; what is padded is masked, and its rows are cut from the answer.
3. A graph without a mask cannot be padded and runs at the size of its input, as that of a history does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onyxrank.sessions.arrays import Array, Feeds, on_host
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.session import Session, SessionInfo

TOKEN_STEP = 8
"""Tokens come in multiples of this, as the matrix units of GPUs like them."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The largest arrays that a graph is given.

    Attributes:
        rows: number of rows of a micro-batch.
        tokens: number of tokens of a row.
        state: length of the arrays that another graph made, such as the keys of a history; 0 where there are none.

    """

    rows: int
    tokens: int
    state: int = 0


def most_rows(micro_batch_tokens: int) -> int:
    """The largest number of rows, rounded up, that a micro-batch within that budget of tokens is padded to."""
    return max(1, bucket(micro_batch_tokens // TOKEN_STEP))


def bucket(count: int, step: int = 1, most: int | None = None) -> int:
    """Round a size up to the next of eight per doubling, in multiples of `step`, but not above `most`."""
    step = max(step, 1 << max(0, (count - 1).bit_length() - 4))
    size = -(-count // step) * step
    return size if most is None else max(count, min(size, most))


class Bucketed:
    """A session whose micro-batches are padded to sizes that repeat; a `Session` itself.

    Args:
        session: of a graph with an ``attention_mask``; closed with this one.
        graph: its edges.
        sizes: its largest arrays.

    """

    def __init__(self, session: Session, graph: Graph, sizes: Sizes) -> None:
        self._session = session
        self._padded = graph.token_inputs
        self._sizes = sizes

    def run(self, feeds: Feeds) -> list[Array]:
        """Run the graph on padded arrays and cut what was padded; see `Session.run`."""
        rows, most = feeds["input_ids"].shape[0], self._sizes.rows
        if rows <= most:
            return self._run(feeds)
        # Very short rows may be more than the largest arrays have.
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
            # Tokens of padding are masked. Rows of it repeat the last one: nothing attended to would be no number.
            wider = np.pad(on_host(feeds[name]), ((0, 0), (0, missing[1])))
            padded[name] = np.pad(wider, ((0, missing[0]), (0, 0)), mode="edge")
        return [on_host(output)[:rows] for output in self._session.run(padded)]

    def info(self) -> SessionInfo:
        """Say what the session is and really runs on."""
        return self._session.info()

    def close(self) -> None:
        """Free the graph."""
        self._session.close()
