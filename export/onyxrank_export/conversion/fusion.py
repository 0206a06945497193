"""Optimizes an exported graph by onnxruntime's fused operators, for cross models that `cross_graph` cannot write.

1. onnxruntime's transformer optimizer fuses attention (as MultiHeadAttention, whose three projections stay ordinary
   matrix products that the quantizers can see), skip connections with layer norms, and biases with GELU.
2. In the last layer only ``[CLS]`` is read, so query, attention output and feed-forward are computed for that one row
   of each pair; all rows still give keys and values. This is exact: no row of a layer sees another row's output of
   the same layer.

The result uses onnxruntime's own operators, so it is a variant beside the plain graph and never replaces it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from transformers import PretrainedConfig

from onyxrank_export.conversion.errors import ExportError

_READOUT_ROW = "readout_row"
_FUSED_DOMAIN = "com.microsoft"


def fuse(source: Path, target: Path, config: PretrainedConfig) -> None:
    """Write the optimized fp32 graph.

    Args:
        source: the plain fp32 graph.
        target: the file to write.
        config: the model's configuration, which has the number of layers and heads.

    Raises:
        ExportError: if a layer was not recognised, so that it would have stayed unfused.

    """
    options = FusionOptions("bert")
    options.use_multi_head_attention = True
    options.enable_embed_layer_norm = False  # its fused operator has no int8 form
    optimized = optimize_model(
        str(source),
        "bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=options,
        opt_level=0,  # only the fusions written for transformers: the session does the general ones
    )
    graph = optimized.model
    _check_fused(graph, config.num_hidden_layers)
    compute_readout_row_only(graph)
    if all(entry.domain != _FUSED_DOMAIN for entry in graph.opset_import):
        graph.opset_import.append(helper.make_opsetid(_FUSED_DOMAIN, 1))
    onnx.save(graph, target)


def compute_readout_row_only(model: onnx.ModelProto) -> None:
    """Let the last layer compute row 0 alone from its query on; the graph is changed in place.

    Raises:
        ExportError: if the last layer does not have the shape of BERT's.

    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    attention = [node for node in graph.node if node.op_type == "MultiHeadAttention"][-1]
    query = made_by[attention.input[0]]
    rows = query.input[0]
    skips = [node for node in graph.node if node.op_type == "SkipLayerNormalization" and rows in node.input]
    if query.op_type != "MatMul" or len(skips) != 1:
        raise ExportError("the last layer is not BERT's (query product and one skip connection): cannot optimize it")
    bounds = {"start": 0, "end": 1, "axis": 1}
    for name, value in bounds.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), f"{_READOUT_ROW}_{name}"))
    cut = helper.make_node(
        "Slice", [rows, *(f"{_READOUT_ROW}_{name}" for name in bounds)], [_READOUT_ROW], name=_READOUT_ROW
    )
    query.input[0] = _READOUT_ROW
    skips[0].input[:] = [_READOUT_ROW if name == rows else name for name in skips[0].input]
    graph.node.insert(list(graph.node).index(query), cut)
    # The shapes recorded behind the cut are those of all rows. They are only hints: none are better than wrong ones.
    del graph.value_info[:]


def _check_fused(model: onnx.ModelProto, layers: int) -> None:
    counts = {"MultiHeadAttention": layers, "SkipLayerNormalization": 2 * layers}
    for operator, wanted in counts.items():
        found = sum(node.op_type == operator for node in model.graph.node)
        if found != wanted:
            raise ExportError(
                f"the optimizer made {found} {operator} nodes of {layers} layers, not {wanted}: the model is not "
                "built like BERT; choose a BERT-family base"
            )
