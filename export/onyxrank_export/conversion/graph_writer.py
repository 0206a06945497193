"""Builds an ONNX graph node by node, for graphs that no exporter would make."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onyxrank_export.conversion.fp32 import OPSET

FUSED = "com.microsoft"
"""Domain of onnxruntime's fused operators."""
_IR_VERSION = 10


class GraphWriter:
    """Collects the nodes and constants of a graph. What is added is known by its name, which each method returns."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str, values: Any) -> str:
        """Add a float32 constant."""
        return self._constant(name, np.asarray(values, dtype=np.float32))

    def integers(self, *values: int) -> str:
        """Add an int64 constant of one dimension; the same values are added once."""
        return self._constant("i_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def integer(self, value: int) -> str:
        """Add an int64 constant without dimensions."""
        return self._constant(f"i_{value}_scalar", np.array(value, dtype=np.int64))

    def node(self, operator: str, *inputs: str, name: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, which has the name of the node."""
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def split(self, source: str, parts: tuple[str, ...], *, axis: int) -> tuple[str, ...]:
        """Split a tensor into equal parts along an axis; `parts` are their names."""
        self._nodes.append(
            helper.make_node("Split", [source], list(parts), name=parts[0], axis=axis, num_outputs=len(parts))
        )
        return parts

    def model(
        self,
        integers: dict[str, list[Any]],
        floats: dict[str, list[Any]],
        outputs: dict[str, list[Any]],
    ) -> onnx.ModelProto:
        """Make the model of all nodes added so far.

        Args:
            integers: shapes of the int64 inputs by name; a dimension is a number, or a name where it may vary.
            floats: shapes of the float32 inputs by name.
            outputs: shapes of the float32 outputs by name.

        """
        graph = helper.make_graph(
            self._nodes,
            "onyxrank",
            [
                *(helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in integers.items()),
                *(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in floats.items()),
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="onyxrank")

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name
