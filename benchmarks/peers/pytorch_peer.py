"""Eager and compiled PyTorch, optimum, and onnxruntime used plainly: in the project's own environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from base import Batched, versions
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoModelForSequenceClassification, AutoTokenizer

_LONGEST = 512


def _sorted_batches(
    tokenizer: Any, forward: Callable[[dict[str, Any]], np.ndarray], kind: str
) -> Callable[[str, Sequence[str], int], Sequence[float]]:
    """Tokenize the list in one call, sort it by length, and pad each batch to its longest."""

    def score(query: str, texts: Sequence[str], batch: int) -> Sequence[float]:
        encoded = tokenizer([query] * len(texts), list(texts), truncation=True, max_length=_LONGEST)
        order = sorted(range(len(texts)), key=lambda index: -len(encoded["input_ids"][index]))
        scores = np.empty(len(texts))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            picked = {name: [values[row] for row in rows] for name, values in encoded.items()}
            padded = tokenizer.pad(picked, return_tensors=kind)
            scores[rows] = 1 / (1 + np.exp(-forward(dict(padded))))
        return scores.tolist()

    return score


def _eager(dtype: str, *, compiled: bool = False) -> Callable[[str, int], Batched]:
    def load(folder: str, threads: int) -> Batched:
        torch.set_num_threads(threads)
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        settings = {"versions": versions("torch", "transformers"), "precision": dtype, "threads": threads}
        settings["attention"] = model.config._attn_implementation
        run = model
        if compiled:
            # Weights are folded into the code: what the compiler offers for inference.
            torch._inductor.config.freezing = True
            settings["freezing"] = True
            run = torch.compile(model, dynamic=True)

        def forward(batch: dict[str, Any]) -> np.ndarray:
            with torch.inference_mode():
                return run(**batch).logits[:, 0].double().numpy()

        return Batched(_sorted_batches(AutoTokenizer.from_pretrained(folder), forward, "pt"), settings)

    return load


def _loop(folder: str, threads: int) -> Batched:
    """Score one item at a time, padded to a fixed length."""
    torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def score(query: str, texts: Sequence[str], length: int) -> Sequence[float]:
        scores = []
        for text in texts:
            pair = tokenizer(
                query, text, truncation=True, max_length=length, padding="max_length", return_tensors="pt"
            )
            with torch.no_grad():
                scores.append(torch.sigmoid(model(**pair).logits[0, 0].double()).item())
        return scores

    settings = {"versions": versions("torch", "transformers"), "precision": "fp32", "padding": "to a fixed length"}
    return Batched(score, settings, (320,))


def _optimum(folder: str, threads: int) -> Batched:
    model = ORTModelForSequenceClassification.from_pretrained(folder, subfolder="onnx", file_name="model.onnx")

    def forward(batch: dict[str, Any]) -> np.ndarray:
        return np.asarray(model(**batch).logits)[:, 0].astype(np.float64)

    score = _sorted_batches(AutoTokenizer.from_pretrained(folder), forward, "np")
    return Batched(score, {"versions": versions("optimum-onnx", "onnxruntime"), "precision": "fp32"})


def _plain(folder: str, threads: int) -> Batched:
    """Use onnxruntime as its documentation shows it: the whole list is one padded batch."""
    session = onnxruntime.InferenceSession(Path(folder) / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = {node.name for node in session.get_inputs()}

    def score(query: str, texts: Sequence[str], batch: int) -> Sequence[float]:
        encoded = tokenizer(
            [query] * len(texts), list(texts), truncation=True, max_length=_LONGEST, padding=True, return_tensors="np"
        )
        [logits] = session.run(["logits"], {name: encoded[name].astype(np.int64) for name in names})
        return (1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))).tolist()

    return Batched(score, {"versions": versions("onnxruntime"), "precision": "fp32", "batch": "the whole list"}, ())


WAYS = {
    "PyTorch, one by one": _loop,
    "PyTorch fp32": _eager("float32"),
    "PyTorch bf16": _eager("bfloat16"),
    "torch.compile fp32": _eager("float32", compiled=True),
    "torch.compile bf16": _eager("bfloat16", compiled=True),
    "optimum onnxruntime": _optimum,
    "onnxruntime, one batch": _plain,
}
