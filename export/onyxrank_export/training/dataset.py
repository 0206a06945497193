"""Candidate lists as token ids, padded per batch, in a length-grouped order that depends on seed and epoch alone.

A positive stays in one batch with its negatives: they share the history, so what differs between them is the item,
and the gradient is far less noisy than over unrelated pairs (benchmarks/NOTES.md has the figures).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from onyxrank.request.encoding import TextEncoder
from onyxrank.request.items import Item
from onyxrank_export.data.lists import CandidateList

Row = dict[str, Any]


class ListDataset(Dataset):  # type: ignore[misc]
    """Candidate lists as token ids: each distinct text is tokenized once, and cut as the engine cuts it.

    An element is the rows of one list, each a pair of the history and an item: ``input_ids``, ``token_type_ids``,
    ``labels`` (the probability to learn), and ``encoder_margins`` where there are any.

    Args:
        lists: the candidate lists.
        items: the catalogue that the lists refer to.
        encoder: the engine's text encoder.
        encoder_margins: float32 [candidates], one list after the other, whose order is learnt too; None for none.

    """

    def __init__(
        self,
        lists: Sequence[CandidateList],
        items: Sequence[Item],
        encoder: TextEncoder,
        encoder_margins: NDArray[np.float32] | None = None,
    ) -> None:
        self._lists = lists
        self._margins = None if encoder_margins is None else split_like(encoder_margins, lists)
        self._items = encode_items(items, encoder)
        texts = list({text: None for row in lists for text in row.history})
        events = dict(zip(texts, encoder.token_ids(texts), strict=True))
        self._histories: dict[tuple[str, ...], list[int]] = {}
        for row in lists:
            if row.history not in self._histories:
                self._histories[row.history] = encoder.fit_history([events[text] for text in row.history])[0]

    def __len__(self) -> int:
        return len(self._lists)

    def __getitem__(self, index: int) -> list[Row]:
        chosen = self._lists[index]
        history = self._histories[chosen.history]
        rows = [
            {
                "input_ids": history + self._items[item],
                "token_type_ids": [0] * len(history) + [1] * len(self._items[item]),
                "labels": label,
            }
            for item, label in zip(chosen.items.tolist(), chosen.labels.tolist(), strict=True)
        ]
        if self._margins is not None:
            for row, margin in zip(rows, self._margins[index].tolist(), strict=True):
                row["encoder_margins"] = margin
        return rows

    @property
    def lengths(self) -> list[int]:
        """How many tokens the longest pair of each list has."""
        return [
            len(self._histories[row.history]) + max(len(self._items[item]) for item in row.items)
            for row in self._lists
        ]


def pieces(lists: Sequence[CandidateList], most: int) -> list[CandidateList]:
    """Cut lists into pieces of at most `most` candidates; candidates and their order stay."""
    return [
        CandidateList(row.history, row.items[start : start + most], row.labels[start : start + most])
        for row in lists
        for start in range(0, len(row.items), most)
    ]


class LengthGroupedEpochs(Sampler):  # type: ignore[misc]
    """Draws batches of similar length in an order fixed by seed and epoch, so that a resumed run sees the same ones.

    Args:
        lengths: tokens of the longest pair of each list, one epoch after the other, as many lists in each.
        epochs: how many epochs there are; a training that goes on longer starts over with the first.
        batch_size: lists per optimizer step.
        seed: seed of the order.

    """

    def __init__(self, lengths: list[int], epochs: int, batch_size: int, seed: int) -> None:
        size = len(lengths) // epochs
        self._lengths = [lengths[start : start + size] for start in range(0, size * epochs, size)]
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths[0])

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self._seed + self._epoch)
        lengths = self._lengths[self._epoch % len(self._lengths)]
        start = len(lengths) * (self._epoch % len(self._lengths))
        for index in get_length_grouped_indices(lengths, self._batch_size, generator=generator):
            yield start + index

    def set_epoch(self, epoch: int) -> None:
        """Take the epoch to draw next; the training loop calls this before each epoch.

        A smaller epoch than before is ignored: on resuming, accelerate makes a loader that skips the batches already
        seen, and that loader calls this with 0 once more.
        """
        self._epoch = max(self._epoch, epoch)


def encode_items(items: Sequence[Item], encoder: TextEncoder) -> list[list[int]]:
    """Tokenize items as segment B of a pair: title and description, cut to fit, and the closing ``[SEP]``."""
    titles = encoder.token_ids([item.title for item in items])
    descriptions = encoder.token_ids([item.description for item in items])
    return [encoder.fit_item(title, description) for title, description in zip(titles, descriptions, strict=True)]


def split_like(flat: NDArray[np.float32], lists: Sequence[CandidateList]) -> list[NDArray[np.float32]]:
    """Cut a flat array over all candidates into one array per list."""
    return np.split(flat, np.cumsum([len(row.items) for row in lists])[:-1])


def collate(lists: Sequence[Sequence[Row]], pad_id: int = 0) -> dict[str, torch.Tensor]:
    """Put the rows of several lists into one batch, padded to the longest.

    Returns:
        int64 [rows, longest] ``input_ids``, ``attention_mask`` and ``token_type_ids``, and the `targets`.

    """
    rows = [row for pairs in lists for row in pairs]
    shape = (len(rows), max(len(row["input_ids"]) for row in rows))
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    token_type_ids = torch.zeros(shape, dtype=torch.long)
    for index, row in enumerate(rows):
        length = len(row["input_ids"])
        input_ids[index, :length] = torch.tensor(row["input_ids"])
        attention_mask[index, :length] = 1
        token_type_ids[index, :length] = torch.tensor(row["token_type_ids"])
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
        **targets(lists),
    }


def targets(lists: Sequence[Sequence[Row]]) -> dict[str, torch.Tensor]:
    """The targets of a batch of lists.

    Returns:
        float32 [rows] ``labels`` and, where the rows have them, ``encoder_margins``; int64 [lists] ``list_sizes``,
        how many rows each list has.

    """
    rows = [row for pairs in lists for row in pairs]
    names = [name for name in ("labels", "encoder_margins") if name in rows[0]]
    return {name: torch.tensor([row[name] for row in rows], dtype=torch.float32) for name in names} | {
        "list_sizes": torch.tensor([len(pairs) for pairs in lists])
    }
