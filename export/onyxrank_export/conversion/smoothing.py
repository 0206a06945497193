"""Scales outlier channels down before a product and up again in its weights, so that int8 has room for the rest.

In BERT a few channels of the feed-forward's inputs are over ten times larger than all others (Kovaleva et al. 2021,
"BERT Busters"). A uint8 range for the whole tensor then leaves most channels a dozen of its 256 steps. SmoothQuant
(Xiao et al. 2022, section 4) moves the scale into the weights, which have a range per column: (x / s) (s W) = x W,
exactly. Unlike there, only outlier channels are scaled: scaling all of them lost more than it won
(benchmarks/NOTES.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onyxrank.sessions.arrays import Feeds, on_host
from onyxrank.sessions.graph import Graph
from onyxrank_export.conversion.kernels import constant_products
from onyxrank_export.conversion.sessions import opened_session

OUTLIER = 8.0
"""A tensor is scaled if its largest channel is more than this many times the median channel."""
_KEPT = 4.0
"""Scaled channels are brought down to this many times the median channel."""


def smooth(source: Path, target: Path, calibration: Iterable[Feeds]) -> int:
    """Write the graph with the outlier channels of its products' inputs scaled down; it computes the same.

    Args:
        source: an fp32 graph.
        target: the file to write.
        calibration: inputs to find outliers on; padding, where there is an ``attention_mask``, does not count.

    Returns:
        How many tensors were scaled.

    """
    model = onnx.load(source)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for product in constant_products(model.graph):
        readers.setdefault(product.input[0], []).append(product)
    scaled = 0
    for name, largest in _largest(model, tuple(readers), target, calibration).items():
        median = float(np.median(largest))
        if median > 0 and largest.max() > OUTLIER * median:
            _scale(model, name, readers[name], np.maximum(largest / (_KEPT * median), 1.0))
            scaled += 1
    _drop_unread_weights(model.graph)
    onnx.save(model, target)
    return scaled


def _largest(
    model: onnx.ModelProto,
    names: tuple[str, ...],
    path: Path,
    calibration: Iterable[Feeds],
) -> dict[str, NDArray[np.float32]]:
    """Find the largest magnitude of each channel of the named activations, padding left out: float32 [channels] each.

    To see them, the graph is written to `path` with those activations as outputs, and run.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    onnx.save(watched, path)
    kinds: dict[int, type[np.generic]] = {onnx.TensorProto.INT64: np.int64, onnx.TensorProto.FLOAT: np.float32}
    inputs = {value.name: kinds[value.type.tensor_type.elem_type] for value in model.graph.input}
    found: dict[str, NDArray[np.float32]] = {}
    with opened_session(path, Graph(inputs, names)) as session:
        for feeds in calibration:
            real = on_host(feeds["attention_mask"]).astype(bool) if "attention_mask" in feeds else np.empty(0)
            for name, values in zip(names, map(on_host, session.run(feeds)), strict=True):
                rows = values[real] if values.shape[:2] == real.shape else values.reshape(-1, values.shape[-1])
                largest = np.abs(rows).max(axis=0)
                found[name] = np.maximum(found.get(name, largest), largest)
    return found


def _scale(model: onnx.ModelProto, name: str, products: list[onnx.NodeProto], scale: NDArray[np.float32]) -> None:
    """Divide the activation that some products read by `scale`, and multiply their weights' rows by it, in place."""
    graph = model.graph
    weights = {weight.name: weight for weight in graph.initializer}
    graph.initializer.append(numpy_helper.from_array((1.0 / scale).astype(np.float32), f"{name}_smoothing"))
    node = helper.make_node("Mul", [name, f"{name}_smoothing"], [f"{name}_smooth"], name=f"{name}_smooth")
    graph.node.insert(list(graph.node).index(products[0]), node)
    for product in products:
        # Each product gets a weight of its own: layers may share one (ALBERT), but each has other outliers.
        values = numpy_helper.to_array(weights[product.input[1]]) * scale[:, None]
        product.input[:] = [f"{name}_smooth", f"{product.name}_smooth_weight"]
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), product.input[1]))


def _drop_unread_weights(graph: onnx.GraphProto) -> None:
    """Drop the constants that no node reads any more, in place."""
    read = {name for node in graph.node for name in node.input}
    kept = [weight for weight in graph.initializer if weight.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
