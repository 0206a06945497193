"""Runs over arrays that stay bound in a device's memory, so that a run allocates and looks up nothing.

Every combination of shapes has arrays of its own, made when it is first seen; the ones used last are kept. Runs at
once have different arrays.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.sessions.graph import Feeds

_Shapes = tuple[tuple[int, ...], ...]


class BoundRuns:
    """Runs a graph over bound arrays. Safe to share between threads.

    Args:
        session: onnxruntime's.
        outputs: names, in the order in which to return them.
        device: where its inputs lie, as onnxruntime calls it: ``cuda``, ``cpu``.
        most: sets of arrays to keep.

    """

    def __init__(self, session: Any, outputs: Sequence[str], device: str, most: int = 64) -> None:
        self._session, self._outputs, self._device, self._most = session, list(outputs), device, most
        self._free: OrderedDict[_Shapes, list[_Bound]] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, feeds: Feeds) -> list[NDArray[np.float32]]:
        """Run the graph on arrays by input name; the answers are copies."""
        shapes = tuple(array.shape for array in feeds.values())
        bound = self._taken(shapes) or _Bound(self._session, feeds, self._outputs, self._device)
        answer = bound.run(feeds)
        self._give_back(shapes, bound)
        return answer

    def _taken(self, shapes: _Shapes) -> _Bound | None:
        with self._lock:
            kept = self._free.get(shapes)
            return kept.pop() if kept else None

    def _give_back(self, shapes: _Shapes, bound: _Bound) -> None:
        with self._lock:
            self._free.setdefault(shapes, []).append(bound)
            self._free.move_to_end(shapes)
            while sum(map(len, self._free.values())) > self._most:
                oldest = next(iter(self._free))
                if self._free[oldest]:
                    self._free[oldest].pop()
                else:
                    del self._free[oldest]


class _Bound:
    """Feeds of one combination of shapes."""

    def __init__(self, session: Any, feeds: Feeds, outputs: Sequence[str], device: str) -> None:
        from onnxruntime import OrtValue

        self._session = session
        # Of their shape only: on the CPU, a value made of an array would be the caller's own memory.
        self._inputs = {
            name: OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, device, 0)
            for name, array in feeds.items()
        }
        self._binding = session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self._names = outputs
        for name in outputs:
            self._binding.bind_output(name, "cpu")
        self._answers: Sequence[Any] = ()

    def run(self, feeds: Feeds) -> list[NDArray[np.float32]]:
        for name, array in feeds.items():
            self._inputs[name].update_inplace(array)
        self._session.run_with_iobinding(self._binding)
        if not self._answers:
            # onnxruntime allocated them in its first run; from now on it writes there.
            self._answers = self._binding.get_outputs()
            for name, value in zip(self._names, self._answers, strict=True):
                self._binding.bind_ortvalue_output(name, value)
        return [np.array(value.numpy(), dtype=np.float32) for value in self._answers]
