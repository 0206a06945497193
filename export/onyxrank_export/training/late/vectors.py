"""The encoder's vectors of a catalogue: of every item as a candidate, and of its title as an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.nn import Module

from onyxrank.request.apart import SPECIAL_TOKENS, ApartEncoder
from onyxrank.request.items import Item
from onyxrank.request.token_ids import Ragged
from onyxrank_export.training.contrastive import vectors_of


@dataclass(frozen=True, slots=True)
class CatalogueVectors:
    """The vectors of a catalogue.

    Attributes:
        items: float32 [items, width], unit vectors of title and description.
        titles: float32 [items, width], unit vectors of the title alone.
        title_lengths: int64 [items], content tokens of each title as an event.

    """

    items: NDArray[np.float32]
    titles: NDArray[np.float32]
    title_lengths: NDArray[np.int64]


def catalogue_vectors(encoder: Module, texts: ApartEncoder, items: Sequence[Item], pad_id: int) -> CatalogueVectors:
    """Encode a catalogue, each text once.

    Args:
        encoder: the encoder, put in evaluation mode.
        texts: makes token ids of texts as serving will.
        items: the catalogue.
        pad_id: token id to pad with.

    """
    as_items = texts.encode([], items).items
    as_events = texts.encode([], [Item(item.id, item.title) for item in items]).items
    vectors = text_vectors(encoder, Ragged.joined([as_items, as_events]), pad_id)
    return CatalogueVectors(vectors[: len(items)], vectors[len(items) :], as_events.lengths - SPECIAL_TOKENS)


def text_vectors(encoder: Module, texts: Ragged, pad_id: int) -> NDArray[np.float32]:
    """Encode texts, equal ones once and those of similar length together: float32 [texts, width].

    Args:
        encoder: the encoder, put in evaluation mode.
        texts: token ids of the texts, special tokens included.
        pad_id: token id to pad with.

    """
    places: dict[bytes, int] = {}
    of_text = np.array([places.setdefault(texts[index].tobytes(), len(places)) for index in range(len(texts))])
    rows = [np.frombuffer(key, np.int32).tolist() for key in places]
    every: NDArray[np.float32] = vectors_of(encoder, rows, pad_id)[of_text]
    return every
