"""The optimized graph of cross over pairs, written from a trained BERT's weights: the plain graph's function, faster.

The letters in the shapes: N pairs, S tokens of the longest pair, h heads of d channels each, hidden = h · d.

1. Products and layer norms are those of `bert_layers`; attention is onnxruntime's fused operator MultiHeadAttention.
2. Padding is hidden by one more channel in each head. It is 1 in all queries, a large negative number in the keys of
   padding and 0 in the keys of tokens, so the score of padding falls by that number. The operator could take a mask
   instead, but then it leaves its fastest kernel for CPUs, which never holds all scores of a head
   (benchmarks/NOTES.md). Its kernels for GPUs want heads of certain sizes: for those the operator takes the lengths.
3. In the last layer only ``[CLS]`` is read, so query, attention output and feed-forward are computed for that one row
   of each pair; all rows still give keys and values. This is exact: no row of a layer sees another row's output of
   the same layer.

Padding must be on the right, as the engine pads. Models that are not plain BERT are optimized by `fusion`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from transformers import BertForSequenceClassification, PreTrainedModel

from onyxrank_export.conversion.bert_layers import Norms, States, after_attention, small_product
from onyxrank_export.conversion.bert_weights import Weights
from onyxrank_export.conversion.graph_writer import GraphWriter
from onyxrank_export.conversion.text_layers import Hiding, attend, by_text, embed
from onyxrank_export.training.plain_bert import what_is_not_plain


def can_write(model: PreTrainedModel) -> bool:
    """Whether the model can be written as such a graph: whether it is a plain BERT classifier."""
    return isinstance(model, BertForSequenceClassification) and not what_is_not_plain(model.config)


def write_cross_graph(model: PreTrainedModel, target: Path, *, for_gpus: bool = False) -> None:
    """Write the fp32 graph of a model that `can_write` accepts; `for_gpus` hides padding by lengths."""
    onnx.save(cross_graph(Weights(model), for_gpus=for_gpus), target)


def cross_graph(weights: Weights, *, for_gpus: bool = False) -> onnx.ModelProto:
    """``input_ids``, ``attention_mask``, ``token_type_ids`` int64 [N, S] → ``logits`` float32 [N, classes]."""
    writer = GraphWriter()
    shape = writer.node("Shape", "input_ids", name="shape")
    pairs = writer.node("Shape", "input_ids", name="pairs", start=0, end=1)
    cells = writer.node("Reshape", writer.node("Size", "input_ids", name="size"), writer.integers(1), name="cells")
    norms = Norms(writer, weights, {"all": cells, "readout": pairs})
    states = embed(writer, weights, norms)
    hiding = Hiding.by_lengths(writer) if for_gpus else Hiding.by_channel(writer, weights)
    for layer in range(weights.layers - 1):
        attended = attend(writer, weights, layer, states, shape, hiding)
        states = after_attention(writer, weights, norms, layer, attended, states, "all")
    last = weights.layers - 1
    readers = _readout_rows(writer, states, shape, weights.hidden)  # rows [N, hidden]
    attended = attend(writer, weights, last, states, shape, hiding, readers)
    states = after_attention(writer, weights, norms, last, attended, readers, "readout")
    pooled = small_product(writer, states, "pooler", *weights.linear("bert.pooler.dense"))
    plain = np.ones(weights.hidden, np.float32), np.zeros(weights.hidden, np.float32)
    pooled_states = States(writer.node("Tanh", pooled, name="pooled"), *plain)
    matrix, bias = weights.linear("classifier")
    small_product(writer, pooled_states, "logits", matrix, bias)
    edges = ["batch_size", "sequence_length"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    return writer.model(dict.fromkeys(names, edges), {}, {"logits": ["batch_size", len(bias)]})


def _readout_rows(writer: GraphWriter, states: States, shape: str, hidden: int) -> States:
    """Take the state of each pair's ``[CLS]``: rows [N, hidden]."""
    by_pair = by_text(writer, states.rows, shape, hidden)
    rows = writer.node("Gather", by_pair, writer.integer(0), name="readout_rows", axis=1)
    return States(rows, states.gain, states.shift)
