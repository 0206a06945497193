"""Pairs as token ids, padded per batch, in length-grouped order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from onyxrank._encoding import TextEncoder
from onyxrank._items import Item
from onyxrank_export.data.pairs import CandidateList, Pair

Row = dict[str, list[int] | float]


class PairDataset(Dataset):  # type: ignore[misc]
    """Labelled pairs, tokenized once per distinct text and cut by the engine's own policy.

    Each row has ``input_ids``, ``token_type_ids`` and ``labels`` (the probability to learn).

    Args:
        pairs: the examples.
        items: the catalogue that the pairs refer to.
        encoder: the engine's text encoder.

    """

    def __init__(self, pairs: Sequence[Pair], items: Sequence[Item], encoder: TextEncoder) -> None:
        self._pairs = pairs
        self._items = encode_items(items, encoder)
        texts = list({text: None for pair in pairs for text in pair.history})
        events = dict(zip(texts, encoder.token_ids(texts), strict=True))
        self._histories: dict[tuple[str, ...], list[int]] = {}
        for pair in pairs:
            if pair.history not in self._histories:
                self._histories[pair.history] = encoder.fit_history([events[text] for text in pair.history])[0]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Row:
        pair = self._pairs[index]
        history, item = self._histories[pair.history], self._items[pair.item]
        return {
            "input_ids": history + item,
            "token_type_ids": [0] * len(history) + [1] * len(item),
            "labels": pair.label,
        }

    @property
    def lengths(self) -> list[int]:
        """Tokens of each pair."""
        return [len(self._histories[pair.history]) + len(self._items[pair.item]) for pair in self._pairs]


class LengthGroupedEpochs(Sampler):  # type: ignore[misc]
    """Batches of similar length, in an order fixed by seed and epoch, so that a resumed run sees the same batches.

    Args:
        lengths: tokens of the pairs of all epochs, one epoch after the other, as many in each.
        epochs: how many epochs there are; a training that goes on longer starts over with the first.
        batch_size: pairs per optimizer step.
        seed: of the order.

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
        """Called by the training loop before each epoch."""
        self._epoch = epoch


def encode_items(items: Sequence[Item], encoder: TextEncoder) -> list[list[int]]:
    """Segment B of every item of a catalogue."""
    titles = encoder.token_ids([item.title for item in items])
    descriptions = encoder.token_ids([item.description for item in items])
    return [encoder.fit_item(title, description) for title, description in zip(titles, descriptions, strict=True)]


def list_pairs(lists: Sequence[CandidateList]) -> list[Pair]:
    """The candidates of all lists, one after the other."""
    return [
        Pair(row.history, int(item), float(label))
        for row in lists
        for item, label in zip(row.items, row.labels, strict=True)
    ]


def split_like(flat: NDArray[np.float64], lists: Sequence[CandidateList]) -> list[NDArray[np.float64]]:
    """One array per list of a flat array over all candidates."""
    return np.split(flat, np.cumsum([len(row.items) for row in lists])[:-1])


def collate(rows: Sequence[Row], pad_id: int = 0) -> dict[str, torch.Tensor]:
    """Pad rows to the longest: int64 [n, longest] ids, mask and segments, float32 [n] labels."""
    longest = max(len(row["input_ids"]) for row in rows)  # type: ignore[arg-type]
    shape = (len(rows), longest)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    token_type_ids = torch.zeros(shape, dtype=torch.long)
    for index, row in enumerate(rows):
        length = len(row["input_ids"])  # type: ignore[arg-type]
        input_ids[index, :length] = torch.tensor(row["input_ids"])
        attention_mask[index, :length] = 1
        token_type_ids[index, :length] = torch.tensor(row["token_type_ids"])
    labels = torch.tensor([row["labels"] for row in rows], dtype=torch.float32)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "token_type_ids": token_type_ids,
        "labels": labels,
    }
