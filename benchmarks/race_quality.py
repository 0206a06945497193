"""Ranking quality of the racers: the same held-out lists through each of them, cut to what the model reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onyxrank.bundle.opening import Bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.measure.requests import Request, trim, trim_item
from onyxrank.request.encoding import TextEncoder
from onyxrank_export.data.lists import lists_of_test
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.metrics import ranking_metrics
from onyxrank_export.training.run import split_of
from peers.process import PeerProcess

_NEGATIVES = 24
"""How many items a list has beside the one that was bought: the usual number takes the slower peers too long."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Test lists as requests.

    Attributes:
        requests: one a list.
        labels: float32 relevance of each list's items.

    """

    requests: list[Request]
    labels: list[NDArray[np.float32]]


def held_out(data: Path, bundle: Bundle, most: int) -> HeldOut:
    """Cut test lists of a data set so that every peer reads all of them, whatever it does with long texts.

    Args:
        data: behaviour or search data, that the bundle was trained on.
        bundle: whose limits hold.
        most: so many lists, chosen with a fixed seed.

    """
    content = read_data(data)
    encoder = load_encoder(bundle)
    split = split_data(content, split_of(bundle.manifest.training) or "last")
    lists = lists_of_test(split, most=most, negatives=_NEGATIVES)
    requests = [
        Request(
            newest(row.history, encoder),
            tuple(
                trim_item(content.items[index], str(index), encoder.limits.item_tokens, encoder)
                for index in row.items
            ),
        )
        for row in lists
    ]
    return HeldOut(requests, [row.labels for row in lists])


def newest(history: tuple[str, ...], encoder: TextEncoder) -> tuple[str, ...]:
    """Keep the newest events that are read whole, or what is read of the newest."""
    kept = history[encoder.encode_history(history).cuts.history_events :]
    return kept or tuple(trim(event, encoder.limits.history_tokens, encoder)[0] for event in history[-1:])


def quality_of(process: PeerProcess, lists: HeldOut) -> dict[str, float]:
    """Measure AUC and NDCG@10 of a peer."""
    scores = [np.array(process.score(request)) for request in lists.requests]
    found = ranking_metrics(lists.labels, scores)
    return {name: round(found[name], 4) for name in ("auc", "ndcg_at_10")}
