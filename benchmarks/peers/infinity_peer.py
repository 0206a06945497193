"""infinity-emb's optimum engine, in process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from base import Batched, versions
from infinity_emb import EngineArgs, SyncEngineArray

_BATCHES = (4, 8, 16, 32, 128)


def _flat(folder: Path) -> Path:
    """Put the graph beside the other files: infinity gives optimum a wrong name of a graph in a folder."""
    target = folder.parent / f"{folder.name}-flat"
    if not target.is_dir():
        shutil.copytree(folder, target, ignore=shutil.ignore_patterns("onnx", "*.safetensors"))
        shutil.copyfile(folder / "onnx" / "model.onnx", target / "model.onnx")
    return target


def _load(folder: str, threads: int) -> Batched:
    os.chdir(_flat(Path(folder)))
    engines: dict[int, SyncEngineArray] = {}

    def engine(batch: int) -> SyncEngineArray:
        if batch not in engines:
            arguments = EngineArgs(
                model_name_or_path=".",
                engine="optimum",
                device="cpu",
                batch_size=batch,
                model_warmup=False,
                onnx_do_not_prefer_quantized=True,
                trust_remote_code=False,
                served_model_name="peer",
            )
            engines[batch] = SyncEngineArray.from_args([arguments])
        return engines[batch]

    def score(query: str, texts: Sequence[str], batch: int) -> Sequence[float]:
        ranked, _ = engine(batch).rerank(model="peer", query=query, docs=list(texts)).result()
        scores = [0.0] * len(texts)
        for result in ranked:
            scores[result.index] = float(result.relevance_score)
        return scores

    engine(_BATCHES[0])
    settings = {"versions": versions("infinity_emb", "optimum-onnx", "onnxruntime"), "precision": "fp32"}
    return Batched(score, settings, _BATCHES)


WAYS = {"infinity optimum": _load}
