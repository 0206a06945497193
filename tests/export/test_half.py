from __future__ import annotations

import numpy as np
import onnx

from onyxrank_export.conversion.half import write_half


def test_products_are_fp16_and_logits_stay_near_fp32(trained_bundle, tmp_path, feeds, run_graph):
    plain = trained_bundle / "onnx" / "model_fused.onnx"
    write_half(plain, tmp_path / "half.onnx")
    graph = onnx.load(tmp_path / "half.onnx").graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    read = [types[node.input[1]] for node in graph.node if node.op_type == "MatMul" and node.input[1] in types]
    assert read
    assert set(read) == {onnx.TensorProto.FLOAT16}
    assert {value.type.tensor_type.elem_type for value in graph.output} == {onnx.TensorProto.FLOAT}
    for half, full in zip(run_graph(tmp_path / "half.onnx", feeds[:2]), run_graph(plain, feeds[:2]), strict=True):
        np.testing.assert_allclose(half, full, atol=0.02)
