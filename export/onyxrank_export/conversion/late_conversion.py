"""The conversion of late-interaction: one graph of the encoder, and the files by which other tools embed with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from onyxrank.architectures.late_interaction import ENCODER, TEXT, events_of, text_feeds
from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.sessions.arrays import Feeds, on_host
from onyxrank_export.conversion.encoder_graph import write_encoder_graph
from onyxrank_export.conversion.half import write_half
from onyxrank_export.conversion.parity import within_tolerance
from onyxrank_export.conversion.sessions import opened_session
from onyxrank_export.training.contrastive import embed

_MOST_TEXTS = 64
"""Texts that parity is checked on."""


class LateConversion:
    """The conversion of late-interaction; see `Conversion` for the methods.

    Args:
        model: a plain BERT encoder.

    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.products = {ENCODER: 6 * model.config.num_hidden_layers}

    def write(self, folder: Path) -> dict[str, Mapping[str, Path]]:
        """Write ``model.onnx``."""
        files = {ENCODER: folder / "model.onnx"}
        write_encoder_graph(self._model, files[ENCODER])
        return {"fp32": files}

    def halve(self, source: Mapping[str, Path], target: Mapping[str, Path]) -> None:
        """Convert the graph that is made for GPUs to fp16."""
        write_encoder_graph(self._model, target[ENCODER], for_gpus=True)
        write_half(target[ENCODER], target[ENCODER])

    def parity(self, folder: Path, requests: Sequence[EncodedRequest], pad_id: int) -> dict[str, float]:
        """Compare vectors with PyTorch, of texts alone and together: the largest difference of a channel."""
        texts = _texts(requests)
        chosen = np.linspace(0, len(texts) - 1, min(_MOST_TEXTS, len(texts))).astype(np.intp)
        worst = 0.0
        with opened_session(folder / "model.onnx", TEXT) as session:
            for rows in (chosen, *chosen[:, None]):
                feeds = text_feeds(texts, rows, pad_id)
                ids, mask = (torch.from_numpy(feeds[name]) for name in ("input_ids", "attention_mask"))
                with torch.inference_mode():
                    expected = embed(self._model, ids, mask).numpy()
                [vectors] = map(on_host, session.run(feeds))
                worst = float(np.maximum(worst, np.abs(vectors - expected).max()))
        return {"fp32": within_tolerance(worst, "vectors")}

    def calibration(
        self, files: Mapping[str, Path], requests: Sequence[EncodedRequest], pad_id: int
    ) -> dict[str, Iterable[Feeds]]:
        """Give texts one at a time, so that nothing is padded."""
        texts = _texts(requests)
        return {ENCODER: [text_feeds(texts, np.array([row]), pad_id) for row in range(len(texts))]}


def write_sentence_encoder(folder: Path, width: int, most_tokens: int) -> None:
    """Write what sentence-transformers and text-embeddings-inference read beside the model: how to pool its states.

    Args:
        folder: the bundle.
        width: number of channels of a vector.
        most_tokens: most tokens of a text, special tokens included.

    """
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds.items())
    ]
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    _write(folder / "modules.json", modules)
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": most_tokens, "do_lower_case": False})


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _texts(requests: Sequence[EncodedRequest]) -> Ragged:
    """All texts of some requests, of events and items, each once."""
    parts = [part for request in requests for part in (events_of(request).texts, request.items)]
    every = {part[index].tobytes(): part[index] for part in parts for index in range(len(part))}
    return Ragged.of(list(every.values()))
