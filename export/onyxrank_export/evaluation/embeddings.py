"""A baseline that needs no training: the cosine similarity of sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from onyxrank.request.items import Item
from onyxrank_export.data.pairs import CandidateList
from onyxrank_export.quiet import quiet
from onyxrank_export.training.base import base_folder

_TOKENS = 128
_BATCH = 32


def embedding_scores(
    lists: Sequence[CandidateList], items: Sequence[Item], base: str = "minilm"
) -> list[NDArray[np.float64]]:
    """Score candidates by their cosine with the mean of the history's embeddings.

    Every text is embedded by itself, as Sentence-BERT does (Reimers and Gurevych 2019, section 3): the mean of the
    last layer's token states, normalized. Title and description of an item are one text.

    Args:
        lists: the lists whose candidates to score.
        items: the catalogue.
        base: ``minilm``, or the folder or hub name of an encoder.

    Returns:
        float64 [candidates] for each list; 0 where there is no history.

    """
    wanted = sorted({int(index) for row in lists for index in row.items})
    texts = list({text: None for row in lists for text in row.history})
    vectors = _embed([f"{items[index].title} {items[index].description}" for index in wanted] + texts, base)
    item_vectors = dict(zip(wanted, vectors, strict=False))
    text_vectors = dict(zip(texts, vectors[len(wanted) :], strict=True))
    scores = []
    for row in lists:
        candidates = np.stack([item_vectors[int(index)] for index in row.items])
        if row.history:
            shopper = np.mean([text_vectors[text] for text in row.history], axis=0)
            scores.append(candidates @ (shopper / np.linalg.norm(shopper)))
        else:
            scores.append(np.zeros(len(row.items)))
    return scores


def _embed(texts: Sequence[str], base: str) -> NDArray[np.float64]:
    """Embed texts as unit vectors: float64 [texts, hidden]."""
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(base_folder(base))
        model = AutoModel.from_pretrained(base_folder(base)).eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    vectors = np.empty((len(texts), model.config.hidden_size))
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        inputs = tokenizer(
            [texts[index] for index in chosen],
            padding=True,
            truncation=True,
            max_length=_TOKENS,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        vectors[chosen] = ((states * mask).sum(dim=1) / mask.sum(dim=1)).double().numpy()
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
