"""Converts graphs to fp16, for GPUs. The CPU provider would compute them in fp32, with casts before and after."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from onyxrank_export.quiet import quiet

_KEPT_FP32 = (
    "InstanceNormalization",
    "SkipLayerNormalization",
    "LayerNormalization",
    "ReduceMax",
    "ReduceL2",
    "Softmax",
)
"""Operators that sum over a row or are subtracted from such a sum: fp16 has 3 digits and ends at 65,504."""


def write_half(source: Path, target: Path) -> None:
    """Write an fp32 graph in fp16; its inputs and outputs stay as they are.

    Args:
        source: the optimized fp32 graph.
        target: the file to write.

    """
    with quiet():  # the converter warns of each weight that is too small for fp16
        graph = convert_float_to_float16(
            onnx.load(source),
            keep_io_types=True,
            disable_shape_infer=True,  # shape inference does not know the fused operators
            op_block_list=list(_KEPT_FP32),
        )
    onnx.save(graph, target)
