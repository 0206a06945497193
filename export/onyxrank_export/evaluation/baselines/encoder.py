"""The encoder alone, untrained: candidates that read like any text of the history come first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from transformers import AutoModel, AutoTokenizer

from onyxrank.request.items import Item
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.baselines.scorer import Scorer
from onyxrank_export.quiet import quiet
from onyxrank_export.training.base_folder import base_folder
from onyxrank_export.training.contrastive import MOST_TOKENS, TEMPERATURE

_BATCH = 32


def encoder(items: Sequence[Item], base: str = "minilm") -> Scorer:
    """Score candidates by the log-sum-exp of their cosines with the texts of the history.

    Every text is embedded by itself, as Sentence-BERT does (Reimers and Gurevych 2019, section 3): the mean of the
    last layer's token states, normalized. Title and description of an item are one text. The cosines are divided by
    the temperature of contrastive training. Where there is no history all scores are 0.

    Args:
        items: the catalogue; what is ranked of it is embedded, each text once.
        base: ``minilm``, or the folder or hub name of an encoder.

    """
    embed = _Embedder(base)
    documents = [f"{item.title} {item.description}".strip() for item in items]

    def score(lists: Sequence[CandidateList]) -> list[NDArray[np.floating]]:
        wanted = np.unique(np.concatenate([row.items for row in lists]))
        of_items = embed([documents[item] for item in wanted])
        texts = {
            text: place for place, text in enumerate(dict.fromkeys(text for row in lists for text in row.history))
        }
        of_texts = embed(list(texts))
        scores: list[NDArray[np.floating]] = []
        for row in lists:
            if row.history:
                candidates = of_items[np.searchsorted(wanted, row.items)]
                cosines = of_texts[[texts[text] for text in row.history]] @ candidates.T
                scores.append(logsumexp(cosines / TEMPERATURE, axis=0))
            else:
                scores.append(np.zeros(len(row.items), np.float32))
        return scores

    return score


class _Embedder:
    """Embeds texts as unit vectors, each once.

    Args:
        base: ``minilm``, or the folder or hub name of an encoder.

    """

    def __init__(self, base: str) -> None:
        with quiet():
            self._tokenizer = AutoTokenizer.from_pretrained(base_folder(base))
            self._model = AutoModel.from_pretrained(base_folder(base)).eval()
        self._kept: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 [texts, hidden]."""
        new = sorted({text for text in texts if text not in self._kept}, key=len)
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._kept.update(zip(batch, self._embed(batch), strict=True))
        return np.stack([self._kept[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        inputs = self._tokenizer(
            texts, padding=True, truncation=True, max_length=MOST_TOKENS + 2, return_tensors="pt"
        )
        with torch.inference_mode():
            states = self._model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        vectors = ((states * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
