"""The contrastively trained encoder's margins over training lists, which the recommender learns beside the labels.

The encoder has compared every purchase with whole batches of other items, while the recommender compares it with the
few items of its list. How the encoder weighs all of these says more than which of them was bought: the soft targets
of distillation (Hinton et al. 2015, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.nn import Module

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.training.contrastive import TEMPERATURE, PairTokens, vectors_of
from onyxrank_export.training.run import RunError

_FILE = "similarities.npy"
_IMPOSSIBLE = -1e4
"""A margin so low that its share of a softmax is 0."""


class Similarity:
    """Compares histories and items by the cosines of their vectors; each text and item is encoded once, at the start.

    Args:
        encoder: the encoder, as it is now; left in evaluation mode.
        tokens: token ids of the lists' texts and items.
        lists: the lists whose margins may be asked for.

    """

    def __init__(self, encoder: Module, tokens: PairTokens, lists: Sequence[CandidateList]) -> None:
        texts = list(dict.fromkeys(text for row in lists for text in row.history))
        self._text_places = {text: place for place, text in enumerate(texts)}
        self._text_vectors = vectors_of(encoder, [tokens.texts[text] for text in texts], tokens.pad_id)
        self._items = np.unique(np.concatenate([row.items for row in lists]))
        self._item_vectors = vectors_of(encoder, [tokens.items[item] for item in self._items], tokens.pad_id)

    def margins(self, row: CandidateList) -> NDArray[np.float32]:
        """The encoder's log-odds that each item of a list goes with any text of the history: float32 [items].

        That is the log-sum-exp, over the texts, of the item's cosines divided by the temperature: the logits of the
        contrastive softmax, summed over the history. Without a history all are 0.
        """
        if not row.history:
            return np.zeros(len(row.items), np.float32)
        items = self._item_vectors[np.searchsorted(self._items, row.items)]
        cosines = self._text_vectors[[self._text_places[text] for text in row.history]] @ items.T  # [texts, items]
        return np.asarray(np.logaddexp.reduce(cosines / TEMPERATURE, axis=0), np.float32)


def margins_to_learn(similarity: Similarity, lists: Sequence[CandidateList]) -> NDArray[np.float32]:
    """The margins that the recommender learns: float32 [candidates], one list after the other.

    Without a history the encoder knows nothing: there the labels take its place, as margins of 0 and almost -∞.
    """
    return np.concatenate(
        [similarity.margins(row) if row.history else np.where(row.labels > 0, 0, _IMPOSSIBLE) for row in lists],
        dtype=np.float32,
    )


def keep_margins(margins: NDArray[np.float32], folder: Path) -> None:
    """Write margins to the folder of the checkpoints, for a training that is resumed. The file has numbers only."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / _FILE, margins)


def kept_margins(folder: Path) -> NDArray[np.float32]:
    """Read the margins that `keep_margins` wrote.

    Raises:
        RunError: if the file is missing or damaged.

    """
    try:
        return np.asarray(np.load(folder / _FILE), np.float32)
    except (OSError, ValueError) as error:
        path = folder / _FILE
        raise RunError(f"{path} is missing or damaged; train again in another folder") from error
