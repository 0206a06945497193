"""The answer to a request: a ranking, which holds hits, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from onyxrank.checks import check_count
from onyxrank.request.items import Item
from onyxrank.request.timings import Timings
from onyxrank.request.truncation import Cuts


@dataclass(frozen=True, slots=True)
class Reason:
    """One part of a margin. The amounts of a hit's reasons add up to its margin.

    Attributes:
        kind: ``event`` for what the text of an event says, ``co_purchase`` and ``next`` for what purchases of others
            say of it, ``popularity``, ``trend`` and ``novelty`` for what is said of the item whatever the history is,
            ``prior`` for what is left.
        index: position of the event in the caller's history, from 0; None where it is about no event.
        text_of: the event's text, which is personal; None where it is about no event.
        amount: what it adds to the log-odds of a purchase.

    """

    kind: str
    index: int | None
    text_of: str | None
    amount: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One item at its place in a ranking.

    Attributes:
        rank: place in the ranking, from 1.
        index: position in the caller's list, from 0.
        id: the item's id.
        score: purchase probability in [0, 1]. It is true of lists like those of the training; calibrate it before
            you use it for anything but ordering.
        item: the item.
        margin: log-odds of a purchase, by which the items are ordered. Probabilities of different large margins can
            be the same number.
        reasons: why it is there, the largest amounts first; empty but in what `Ranker.explain` returns.

    """

    rank: int
    index: int
    id: str
    score: float
    item: Item
    margin: float = 0.0
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking(Sequence[Hit]):
    """The items of one request, best first, ties in input order. Immutable.

    Attributes:
        hits: the first ``top_k`` items.
        total: how many items were ranked.
        cuts: what truncation left out of the request.
        cold_start: whether the history was empty.
        tokens: number of tokens that the model read: those of the history once, and those of every item.
        unknown_tokens: how many of them stand for what the model's vocabulary does not know.
        timings: seconds that each stage took; two rankings are equal whatever their timings.

    """

    hits: tuple[Hit, ...]
    total: int
    cuts: Cuts
    cold_start: bool
    tokens: int = 0
    unknown_tokens: int = 0
    timings: Timings = field(default=Timings(), compare=False)

    @overload
    def __getitem__(self, place: int) -> Hit: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, place: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[place]

    def __len__(self) -> int:
        return len(self.hits)

    def as_records(self) -> list[dict[str, Any]]:
        """List the hits as dicts for JSON: ``rank``, ``index``, ``item_id``, ``score``, and ``reasons`` if any."""
        records: list[dict[str, Any]] = []
        for hit in self.hits:
            record = {"rank": hit.rank, "index": hit.index, "item_id": hit.id, "score": hit.score}
            if hit.reasons:
                record["reasons"] = [asdict(reason) for reason in hit.reasons]
            records.append(record)
        return records


def check_top_k(top_k: object) -> int | None:
    """Return the number of items to keep as Python's int, or None, which keeps all.

    Raises:
        InvalidInput: if `top_k` is neither None nor a whole number of at least 1.

    """
    return None if top_k is None else check_count(top_k, "top_k")


def order_by(margins: NDArray[np.float32], top_k: int | None = None) -> NDArray[np.intp]:
    """Order finite margins, best first and ties in input order.

    Args:
        margins: margins of the items, [items].
        top_k: most indices to return, or None for all.

    Returns:
        Indices into the margins.

    """
    return np.argsort(-margins, kind="stable")[:top_k]


def to_hits(
    items: Sequence[Item],
    margins: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    top_k: int | None = None,
) -> tuple[Hit, ...]:
    """Make hits of the first ``top_k`` items in the order of their margins, best first and ties in input order."""
    order = order_by(margins, top_k)
    # tolist() gives Python's numbers: the json module does not accept numpy's.
    placed = zip(order.tolist(), probabilities[order].tolist(), margins[order].tolist(), strict=True)
    return tuple(
        Hit(rank, index, items[index].id, score, items[index], margin)
        for rank, (index, score, margin) in enumerate(placed, start=1)
    )
