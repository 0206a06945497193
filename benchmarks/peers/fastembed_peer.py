"""fastembed's TextCrossEncoder with the checkpoint as a custom model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from base import Batched, versions
from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder


def _load(folder: str, threads: int) -> Batched:
    TextCrossEncoder.add_custom_model("onyxrank/peer", ModelSource(hf="onyxrank/peer"), model_file="onnx/model.onnx")
    model = TextCrossEncoder("onyxrank/peer", threads=threads, specific_model_path=folder)

    def score(query: str, texts: Sequence[str], batch: int) -> Sequence[float]:
        logits = np.fromiter(model.rerank(query, texts, batch_size=batch), np.float64, len(texts))
        return (1 / (1 + np.exp(-logits))).tolist()  # it answers logits

    return Batched(score, {"versions": versions("fastembed", "onnxruntime"), "precision": "fp32", "threads": threads})


WAYS = {"fastembed": _load}
