"""Measures how fast this machine's matrix products are, and counts how many of them a request needs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onyxrank.architectures.registry import CROSS
from onyxrank.bundle.opening import Bundle, read_json
from onyxrank.measure.peak import Peak
from onyxrank.request.token_ids import EncodedRequest

_ROWS, _INNER, _COLUMNS = 1024, 384, 1536
_REPEATS = 60
_CONFIG = "config.json"


def machine_peak(threads: int) -> Peak:
    """Measure this machine with some threads; the function is a `PeakFactory` of the engine."""
    return Peak(measured_peaks(threads), request_operations)


def measured_peaks(threads: int) -> dict[str, float]:
    """Measure operations per second, in 10⁹, of one large product; a multiplication and an addition are two.

    The product is that of MiniLM's feed-forward, [1024, 384] × [384, 1536]. It runs 60 times, of which the first
    quartile of the times counts.

    Args:
        threads: how many threads onnxruntime has.

    Returns:
        The figures of ``fp32`` and of ``int8`` (uint8 × int8 to int32).

    """
    dice = np.random.default_rng(0)
    weights = dice.integers(-127, 127, (_INNER, _COLUMNS))
    fp32 = _peak(
        "MatMul", dice.standard_normal((_ROWS, _INNER)).astype(np.float32), weights.astype(np.float32), threads
    )
    rows = dice.integers(0, 255, (_ROWS, _INNER)).astype(np.uint8)
    return {"fp32": fp32, "int8": _peak("MatMulInteger", rows, weights.astype(np.int8), threads)}


def request_operations(bundle: Bundle, encoded: EncodedRequest) -> float | None:
    """Count the operations, in 10⁹, that a bundle's architecture needs for a request.

    Only products with constant weights count, without padding, and of the last layer only what the readout row needs.

    Args:
        bundle: an open bundle.
        encoded: the request as token ids.

    Returns:
        The number, or None if the bundle's ``config.json`` lacks the sizes of its layers.

    """
    config = read_json(bundle.path(_CONFIG)) if _CONFIG in bundle.manifest.files else {}
    try:
        layers, hidden, inner = (
            int(config[name]) for name in ("num_hidden_layers", "hidden_size", "intermediate_size")
        )
    except KeyError:
        return None
    items, history = len(encoded.items), len(encoded.history)
    times = items if bundle.manifest.architecture == CROSS else 1
    return constant_operations(
        layers, hidden, inner, tokens=int(encoded.items.lengths.sum()) + times * history, items=items
    )


def constant_operations(layers: int, hidden: int, inner: int, tokens: int, items: int) -> float:
    """Count the operations, in 10⁹, of BERT's products with constant weights.

    Args:
        layers: number of layers.
        hidden: width of a token's state.
        inner: width of the feed-forward.
        tokens: tokens that go through the layers, all items and histories together.
        items: readout rows, the only ones that the last layer computes in full.

    """
    whole = tokens * (layers - 1) * (4 * hidden * hidden + 2 * hidden * inner)
    last = tokens * 2 * hidden * hidden + items * (2 * hidden * hidden + 2 * hidden * inner)
    return 2 * (whole + last) / 1e9


def _peak(operator: str, rows: NDArray[Any], weights: NDArray[Any], threads: int) -> float:
    result = TensorProto.FLOAT if rows.dtype == np.float32 else TensorProto.INT32
    kind = helper.np_dtype_to_tensor_dtype(rows.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["rows", "weights"], ["product"])],
        "peak",
        [helper.make_tensor_value_info("rows", kind, rows.shape)],
        [helper.make_tensor_value_info("product", result, [len(rows), weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        session.run(None, {"rows": rows})
        seconds.append(time.perf_counter() - start)
    return float(2 * rows.size * weights.shape[1] / np.percentile(seconds, 25) / 1e9)
