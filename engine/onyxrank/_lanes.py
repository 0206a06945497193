"""Runs the micro-batches of a request: one after the other, or several at once.

One run of a graph on n threads waits at every operator for the slowest of them; n runs of one thread each do not.
Which is faster depends on the machine and the graph, so it is measured (`onyxrank tune`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from onyxrank._session import Feeds, Session
from onyxrank._timing import Stopwatch

Indices = NDArray[np.intp]


class Lanes:
    """Where micro-batches run. Safe to share between threads.

    Args:
        count: most micro-batches at once; 1 runs them on the caller's thread.

    """

    def __init__(self, count: int = 1) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="onyxrank") if count > 1 else None

    def run(
        self, session: Session, groups: Iterable[Indices], feeds: Callable[[Indices], Feeds], watch: Stopwatch
    ) -> Iterator[tuple[Indices, NDArray[np.float32]]]:
        """Run a graph with one output on groups of rows.

        Args:
            session: the graph.
            groups: row indices of each micro-batch, in the order in which to begin them.
            feeds: pads one of them.
            watch: where to add the time of ``batch`` and ``run``; with several lanes padding overlaps with running
                and all of it is ``run``.

        Yields:
            The groups in their order, each with its output.

        """
        if self._pool is None:
            for indices in groups:
                with watch.stage("batch"):
                    batch = feeds(indices)
                with watch.stage("run"):
                    [output] = session.run(batch)
                yield indices, output
            return
        groups = list(groups)
        with watch.stage("run"):
            outputs = list(self._pool.map(lambda indices: session.run(feeds(indices))[0], groups))
        yield from zip(groups, outputs, strict=True)

    def close(self) -> None:
        """End the threads once what runs is done."""
        if self._pool is not None:
            self._pool.shutdown()
