"""The graph of late-interaction's encoder over texts, written from a trained BERT's weights.

It computes what a sentence encoder does: the mean of the last layer's token states, without padding, as a unit vector
(Reimers and Gurevych 2019, section 3). It answers the token states too, so that sentence-transformers and
text-embeddings-inference embed with it. The layers are those of `cross_graph`, in which all tokens are read to the
end. The letters in the shapes: N texts, S tokens of the longest one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from transformers import PreTrainedModel

from onyxrank_export.conversion.bert_layers import Norms, States, after_attention
from onyxrank_export.conversion.bert_weights import Weights
from onyxrank_export.conversion.graph_writer import GraphWriter
from onyxrank_export.conversion.text_layers import Hiding, attend, by_text, embed

_SMALLEST = 1e-12
"""The least norm that a vector is divided by, as PyTorch has it."""


def write_encoder_graph(model: PreTrainedModel, target: Path, *, for_gpus: bool = False) -> None:
    """Write the fp32 graph of a plain BERT encoder; `for_gpus` hides padding by lengths."""
    onnx.save(encoder_graph(Weights(model), for_gpus=for_gpus), target)


def encoder_graph(weights: Weights, *, for_gpus: bool = False) -> onnx.ModelProto:
    """Make the graph of three inputs, int64 [N, S] each, and two outputs.

    ``input_ids``, ``attention_mask``, ``token_type_ids`` → ``sentence_embedding`` float32 [N, hidden] and
    ``last_hidden_state`` float32 [N, S, hidden].
    """
    writer = GraphWriter()
    shape = writer.node("Shape", "input_ids", name="shape")
    cells = writer.node("Reshape", writer.node("Size", "input_ids", name="size"), writer.integers(1), name="cells")
    norms = Norms(writer, weights, {"all": cells})
    states = embed(writer, weights, norms)
    hiding = Hiding.by_lengths(writer) if for_gpus else Hiding.by_channel(writer, weights)
    for layer in range(weights.layers):
        attended = attend(writer, weights, layer, states, shape, hiding)
        states = after_attention(writer, weights, norms, layer, attended, states, "all")
    tokens = by_text(writer, _whole(writer, states), shape, weights.hidden)
    writer.node("Identity", tokens, name="last_hidden_state")
    _unit_mean(writer, tokens)
    edges = ["batch_size", "sequence_length"]
    return writer.model(
        dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), edges),
        {},
        {
            "sentence_embedding": ["batch_size", weights.hidden],
            "last_hidden_state": ["batch_size", "sequence_length", weights.hidden],
        },
    )


def _whole(writer: GraphWriter, states: States) -> str:
    """Add the gain and shift that products elsewhere have in their weights: rows [N · S, hidden]."""
    scaled = writer.node("Mul", states.rows, writer.weight("last_gain", states.gain), name="last_scaled")
    return writer.node("Add", scaled, writer.weight("last_shift", states.shift), name="last_states")


def _unit_mean(writer: GraphWriter, tokens: str) -> None:
    """Add the mean over the tokens of each text, of length 1: ``sentence_embedding`` [N, hidden]."""
    mask = writer.node("Cast", "attention_mask", name="mask_of_mean", to=onnx.TensorProto.FLOAT)  # [N, S]
    row = writer.node("Unsqueeze", mask, writer.integers(1), name="mask_row")  # [N, 1, S]
    total = writer.node("MatMul", row, tokens, name="total_row")  # [N, 1, hidden]
    total = writer.node("Squeeze", total, writer.integers(1), name="total")  # [N, hidden]
    # The mean and the sum have the same direction, which is all that a unit vector keeps.
    norm = writer.node("ReduceL2", total, writer.integers(1), name="norm")  # [N, 1]
    norm = writer.node("Max", norm, writer.weight("smallest", np.float32(_SMALLEST)), name="norm_above_zero")
    writer.node("Div", total, norm, name="sentence_embedding")
