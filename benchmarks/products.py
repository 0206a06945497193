"""Which part of a graph's time its matrix products take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

from onyxrank.sessions.arrays import Feeds

_PRODUCTS = {"MatMul", "FusedMatMul", "Gemm", "MatMulIntegerToFloat", "MatMulInteger", "DynamicQuantizeMatMul"}


def operator_shares(graph: Path, batches: Sequence[Feeds], threads: int) -> dict[str, float]:
    """Measure each operator's share of a graph's time by onnxruntime's profiler; the largest is first.

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
    return {"products": round(products / total, 4)} | {
        name: round(taken / total, 4) for name, taken in times.most_common(8)
    }
