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
from onyxrank_export.data.splits import Split
from onyxrank_export.training.base import Checkpoint
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import TEMPERATURE, Halves, embed, pad
from onyxrank_export.training.run import RunError

_FILE = "similarities.npy"
_TOGETHER = 128
_IMPOSSIBLE = -1e4


def list_margins(
    base: Checkpoint, split: Split, lists: Sequence[CandidateList], config: TrainingConfig
) -> NDArray[np.float32]:
    """The encoder's margins of all candidates of all lists, one list after the other.

    An item's is the log-sum-exp of its cosines with the texts of the history, over the temperature: the encoder's own
    odds that it goes with any of them. Where there is no history, the encoder agrees with the labels.

    Returns:
        float32 [candidates].

    """
    texts = list(dict.fromkeys(text for row in lists for text in row.history))
    halves = Halves.of(texts, split, base.tokenizer, config)
    encoder = base.model.base_model
    of_items = _vectors(encoder, halves.items, halves.pad_id)
    of_texts = _vectors(encoder, list(halves.texts.values()), halves.pad_id)
    places = {text: place for place, text in enumerate(halves.texts)}
    margins = []
    for row in lists:
        if row.history:
            cosines = of_texts[[places[text] for text in row.history]] @ of_items[row.items].T
            margins.append(np.logaddexp.reduce(cosines / TEMPERATURE, axis=0))
        else:
            margins.append(np.where(row.labels > 0, 0, _IMPOSSIBLE))
    return np.concatenate(margins, dtype=np.float32)


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
