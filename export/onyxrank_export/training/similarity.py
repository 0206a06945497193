"""What the contrastively trained encoder says of training lists, for the recommender to learn beside the labels.

The encoder has compared every purchase with whole batches of others, the recommender compares it with the few items
of its list: what the encoder thinks of all of those says more than which of them was bought (Hinton et al. 2015,
section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module

from onyxrank_export.data.pairs import CandidateList
from onyxrank_export.training.contrastive import TEMPERATURE, Halves, embed, pad
from onyxrank_export.training.run import RunError

_FILE = "similarities.npy"
_TOGETHER = 128
_IMPOSSIBLE = -1e4


class Similarity:
    """How near items are to histories, by the encoder as it is now: each text and item of the lists is encoded once.

    Args:
        encoder: the encoder; left in evaluation mode.
        halves: token ids of the lists' texts and items.
        lists: what can be asked about.

    """

    def __init__(self, encoder: Module, halves: Halves, lists: Sequence[CandidateList]) -> None:
        texts = list(dict.fromkeys(text for row in lists for text in row.history))
        self._texts = {text: place for place, text in enumerate(texts)}
        self._of_texts = _vectors(encoder, [halves.texts[text] for text in texts], halves.pad_id)
        self._items = np.unique(np.concatenate([row.items for row in lists]))
        self._of_items = _vectors(encoder, [halves.items[item] for item in self._items], halves.pad_id)

    def margins(self, row: CandidateList) -> NDArray[np.float32]:
        """Of each item, the log-sum-exp of its cosines with the texts of the history, over the temperature.

        These are the encoder's own odds that the item goes with any of them: float32 [items], 0 without a history.
        """
        if not row.history:
            return np.zeros(len(row.items), np.float32)
        items = self._of_items[np.searchsorted(self._items, row.items)]
        cosines = self._of_texts[[self._texts[text] for text in row.history]] @ items.T
        return np.asarray(np.logaddexp.reduce(cosines / TEMPERATURE, axis=0), np.float32)


def margins_to_learn(similarity: Similarity, lists: Sequence[CandidateList]) -> NDArray[np.float32]:
    """The margins to learn from: float32 [candidates], one list after the other.

    Where there is no history, the encoder knows nothing, and the labels take its place.
    """
    return np.concatenate(
        [similarity.margins(row) if row.history else np.where(row.labels > 0, 0, _IMPOSSIBLE) for row in lists],
        dtype=np.float32,
    )


def keep_margins(margins: NDArray[np.float32], folder: Path) -> None:
    """Write them beside the checkpoints, for a training that goes on from one of those. Numbers only."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / _FILE, margins)


def kept_margins(folder: Path) -> NDArray[np.float32]:
    """What `keep_margins` wrote.

    Raises:
        RunError: if it is not there any more, or damaged.

    """
    try:
        return np.asarray(np.load(folder / _FILE), np.float32)
    except (OSError, ValueError) as error:
        path = folder / _FILE
        raise RunError(f"{path} is missing or damaged; train again in another folder") from error


def _vectors(encoder: Module, rows: Sequence[Sequence[int]], pad_id: int) -> NDArray[np.float32]:
    """`embed` of any number of texts, float32 [n, width], texts of similar length together."""
    device = next(encoder.parameters()).device
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    vectors = np.empty((len(rows), encoder.config.hidden_size), np.float32)
    encoder.eval()
    with torch.inference_mode():
        for start in range(0, len(order), _TOGETHER):
            places = order[start : start + _TOGETHER]
            ids, mask = pad([rows[place] for place in places], pad_id)
            vectors[places] = embed(encoder, ids.to(device), mask.to(device)).cpu().numpy()
    return vectors
