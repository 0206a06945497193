"""FlashRank with the checkpoint as one of its models."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from base import Batched, versions

# The package gives its class the name of the module.
flashrank = importlib.import_module("flashrank.Ranker")


def _load(folder: str, threads: int) -> Batched:
    path = Path(folder)
    flashrank.model_file_map[path.name] = "onnx/model.onnx"
    ranker = flashrank.Ranker(model_name=path.name, cache_dir=str(path.parent), max_length=512, log_level="ERROR")

    def score(query: str, texts: Sequence[str], batch: int) -> Sequence[float]:
        # It ranks what it is given in one padded batch; a caller can give it less at a time.
        scores = [0.0] * len(texts)
        for start in range(0, len(texts), batch):
            some = texts[start : start + batch]
            passages = [{"id": start + number, "text": text} for number, text in enumerate(some)]
            for passage in ranker.rerank(flashrank.RerankRequest(query=query, passages=passages)):
                scores[passage["id"]] = float(passage["score"])
        return scores

    return Batched(
        score, {"versions": versions("flashrank", "onnxruntime"), "precision": "fp32", "calls": "in batches of ours"}
    )


WAYS = {"FlashRank": _load}
