"""The fp32 ONNX graph, by optimum's exporter, and the check that it is the whole model."""

from __future__ import annotations

from pathlib import Path

import onnx
from optimum.exporters.onnx import export, validate_model_outputs
from optimum.exporters.tasks import TasksManager
from transformers import PreTrainedModel

from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.parity import TOLERANCE
from onyxrank_export.quiet import quiet

OPSET = 18
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"


def export_fp32(model: PreTrainedModel, target: Path) -> None:
    """Export a sequence classifier to one ONNX file and validate it.

    The graph takes int64 ``input_ids``, ``attention_mask`` and ``token_type_ids`` of shape
    [batch_size, sequence_length] and gives float32 ``logits`` [batch_size, classes].

    Args:
        model: the classifier; put in evaluation mode.
        target: the ONNX file to write, such as ``onnx/model.onnx``.

    Raises:
        ExportError: if optimum's validation fails or the graph lost its attention or its classifier.

    """
    model.eval().float().cpu()
    with quiet():  # the tracer warns of the library's own model code, which nobody here can change
        try:
            # optimum's other ways in ask which library the model's class is from, and ours is from none they know.
            config = TasksManager.get_exporter_config_constructor(
                "onnx", model_type=model.config.model_type, task="text-classification", library_name="transformers"
            )(model.config)
            _, outputs = export(model, config, target, opset=OPSET, device="cpu")
            # optimum's own limit, 1e-5 on random ids, refuses sound graphs of models with large logits.
            validate_model_outputs(config, model, target, outputs, atol=TOLERANCE, use_subprocess=False)
        except Exception as error:  # optimum raises bare classes of several libraries: all of them end the export
            raise ExportError(f"optimum could not export the model: {type(error).__name__}: {error}") from error
    check_complete(onnx.load(target), model)


def check_complete(graph: onnx.ModelProto, model: PreTrainedModel) -> None:
    """Make sure that a plain (unfused) graph has its inputs, its output, its attention and its classifier.

    Raises:
        ExportError: if one of them is missing; the message names it.

    """
    inputs = [value.name for value in graph.graph.input]
    outputs = [value.name for value in graph.graph.output]
    if sorted(inputs) != sorted(INPUTS) or outputs != [OUTPUT]:
        raise ExportError(f"the graph has inputs {inputs} and outputs {outputs}, not {list(INPUTS)} and ['{OUTPUT}']")
    layers = model.config.num_hidden_layers
    softmaxes = sum(node.op_type == "Softmax" for node in graph.graph.node)
    if softmaxes < layers:
        raise ExportError(f"the graph has {softmaxes} attention softmaxes for {layers} layers: it lost attention")
    last = next((node for node in graph.graph.node if OUTPUT in node.output), None)
    if last is None:
        raise ExportError(f"nothing in the graph computes '{OUTPUT}'")
    classes = model.config.num_labels
    shapes = [tuple(weight.dims) for weight in graph.graph.initializer if weight.name in last.input]
    if not any(classes in shape for shape in shapes):
        raise ExportError(f"the graph ends in {last.op_type} without the classifier's weights")
