"""What this machine's matrix products can do, and which part of a graph's time they take."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_ROWS, _INNER, _COLUMNS = 1024, 384, 1536
_REPEATS = 60
_PRODUCTS = {"MatMul", "FusedMatMul", "Gemm", "MatMulIntegerToFloat", "MatMulInteger", "DynamicQuantizeMatMul"}
_ATTENTION = {"MultiHeadAttention"}

Feeds = Mapping[str, NDArray[Any]]


def measured_peaks(threads: int) -> dict[str, float]:
    """Operations per second, in 10⁹ (a multiplication and an addition are two), of one large product.

    [1024, 384] × [384, 1536], MiniLM's feed-forward; the best quarter of 60 runs. Keys ``fp32`` and ``int8`` (uint8 ×
    int8 to int32).
    """
    dice = np.random.default_rng(0)
    weights = dice.integers(-127, 127, (_INNER, _COLUMNS))
    fp32 = _peak(
        "MatMul", dice.standard_normal((_ROWS, _INNER)).astype(np.float32), weights.astype(np.float32), threads
    )
    rows = dice.integers(0, 255, (_ROWS, _INNER)).astype(np.uint8)
    return {"fp32": fp32, "int8": _peak("MatMulInteger", rows, weights.astype(np.int8), threads)}


def constant_operations(layers: int, hidden: int, inner: int, tokens: int, items: int) -> float:
    """Operations, in 10⁹, of the items graph's products with constant weights, padding not counted."""
    whole = tokens * (layers - 1) * (4 * hidden * hidden + 2 * hidden * inner)
    last = tokens * 2 * hidden * hidden + items * (2 * hidden * hidden + 2 * hidden * inner)
    return 2 * (whole + last) / 1e9


def operator_shares(graph: Path, batches: Sequence[Feeds], threads: int) -> dict[str, float]:
    """Share of the time of a graph's nodes by operator, by onnxruntime's profiler, largest first.

    ``products`` sums up those that multiply matrices.
    """
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for _ in range(3):
            for batch in batches:
                session.run(None, dict(batch))
        events = json.loads(Path(session.end_profiling()).read_text())
    times: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"]] += event["dur"]
    total = sum(times.values())
    products = sum(time for name, time in times.items() if name in _PRODUCTS)
    fused = sum(time for name, time in times.items() if name in _ATTENTION)
    shares = {"products": products / total, "fused attention": fused / total}
    return {name: round(share, 4) for name, share in shares.items()} | {
        name: round(taken / total, 4) for name, taken in times.most_common(8)
    }


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
