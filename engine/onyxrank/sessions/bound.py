"""Runs over arrays that stay bound in a device's memory, so that a run allocates and looks up nothing.

1. Every combination of shapes has input arrays of its own, made when it is first seen; the ones used last are kept.
   Runs at once have different arrays.
2. An answer is copied to the host, except what another graph reads: that stays on the device, in memory of its own,
   and is handed on as a `DeviceArray`.
3. An input that is a `DeviceArray` is bound as it is, without a copy.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from onyxrank.machine.onnx_runtime import import_runtime
from onyxrank.sessions.arrays import Array, DeviceArray, Feeds
from onyxrank.sessions.graph import Graph

_Shapes = tuple[tuple[int, ...], ...]


class BoundRuns:
    """Runs a graph over bound arrays. Safe to share between threads.

    Args:
        session: onnxruntime's session.
        graph: the edges of the graph.
        device: where its inputs lie, as onnxruntime calls it: ``cuda``, ``cpu``.
        most: number of sets of arrays to keep.

    """

    def __init__(self, session: Any, graph: Graph, device: str, most: int = 64) -> None:
        self._session, self._graph, self._device, self._most = session, graph, device, most
        self._free: OrderedDict[_Shapes, list[_Bound]] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, feeds: Feeds) -> list[Array]:
        """Run the graph; answers in the host's memory are copies that the caller owns."""
        shapes = tuple(array.shape for array in feeds.values())
        bound = self._taken(shapes) or _Bound(self._session, feeds, self._graph, self._device)
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
    """The binding of one combination of shapes."""

    def __init__(self, session: Any, feeds: Feeds, graph: Graph, device: str) -> None:
        value = import_runtime().OrtValue
        self._session, self._graph, self._device = session, graph, device
        # Made of a shape only: on the CPU, a value made of an array would be the caller's own memory.
        self._inputs = {
            name: value.ortvalue_from_shape_and_type(array.shape, array.dtype.type, device, 0)
            for name, array in feeds.items()
            if not isinstance(array, DeviceArray)
        }
        self._binding = session.io_binding()
        for name in graph.outputs:
            self._binding.bind_output(name, device if name in graph.kept else "cpu")
        self._allocated = False

    def run(self, feeds: Feeds) -> list[Array]:
        for name, array in feeds.items():
            if isinstance(array, DeviceArray):
                value = array.value
            else:
                value = self._inputs[name]
                value.update_inplace(array)
            self._binding.bind_ortvalue_input(name, value)
        self._session.run_with_iobinding(self._binding)
        # Another graph's array must not live on because this binding still names it.
        self._binding.clear_binding_inputs()
        answers = self._binding.get_outputs()
        outputs: list[Array] = []
        for name, value in zip(self._graph.outputs, answers, strict=True):
            if name in self._graph.kept:
                outputs.append(DeviceArray(value))
                # The value is the caller's now: the next run allocates another.
                self._binding.bind_output(name, self._device)
                continue
            outputs.append(np.array(value.numpy()))
            if not self._allocated:
                # onnxruntime allocated it in the first run; from now on it writes there.
                self._binding.bind_ortvalue_output(name, value)
        self._allocated = True
        return outputs
