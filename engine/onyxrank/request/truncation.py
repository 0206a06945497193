"""The truncation policy, as pure functions over token ids, which training and serving both call.

1. Of a history, the newest events that fit are kept. An event that does not fit whole is left out, so that the model
   never reads half an old title as if it were one. If not even the newest event fits, its last tokens are kept.
2. Of an item, the title is kept first, and then as much of the description as fits. Of a title that does not fit, the
   beginning is kept.

Limits count content tokens. The special tokens of the template (`TEMPLATE_TOKENS`) come on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onyxrank.checks import check_count

HISTORY_SEPARATOR = ";"
"""Text whose tokens stand between two events; models are trained with it, and manifests record it."""
TEMPLATE_TOKENS = 3
"""Number of special tokens in the template of a pair, ``[CLS] history [SEP] item [SEP]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many content tokens of a history and of an item the model reads.

    Attributes:
        history_tokens: most tokens of a history, separators between events included.
        item_tokens: most tokens of an item's title and description together.

    """

    history_tokens: int = 128
    item_tokens: int = 48

    def __post_init__(self) -> None:
        for field in ("history_tokens", "item_tokens"):
            object.__setattr__(self, field, check_count(getattr(self, field), field))

    @property
    def sequence_tokens(self) -> int:
        """Number of tokens of the longest pair that the model reads, special tokens included."""
        return self.history_tokens + self.item_tokens + TEMPLATE_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """What truncation left out of one request: counts only, never text.

    Attributes:
        history_events: number of events of the history that were left out whole or in part.
        titles: number of items whose title was cut.
        descriptions: number of items whose description was left out whole or in part.

    """

    history_events: int = 0
    titles: int = 0
    descriptions: int = 0

    def __add__(self, other: Cuts) -> Cuts:
        return Cuts(
            history_events=self.history_events + other.history_events,
            titles=self.titles + other.titles,
            descriptions=self.descriptions + other.descriptions,
        )

    def __bool__(self) -> bool:
        return bool(self.history_events or self.titles or self.descriptions)


def fit_history(events: Sequence[Sequence[int]], separator: Sequence[int], limit: int) -> tuple[list[int], int]:
    """Join the newest events that fit, oldest first.

    Args:
        events: token ids of each event, oldest first.
        separator: token ids written between two events.
        limit: most tokens to return.

    Returns:
        The token ids, and the number of events that were left out whole or in part.

    """
    kept: list[Sequence[int]] = []
    room = limit
    for event in reversed(events):
        cost = len(event) + (len(separator) if kept else 0)
        if cost > room:
            break
        kept.append(event)
        room -= cost
    if not kept and events:
        return list(events[-1][-limit:]), len(events)
    joined: list[int] = []
    for event in reversed(kept):
        if joined:
            joined.extend(separator)
        joined.extend(event)
    return joined, len(events) - len(kept)


def fit_item(title: Sequence[int], description: Sequence[int], limit: int) -> tuple[list[int], bool, bool]:
    """Join title and description up to the limit.

    Returns:
        The token ids, whether the title was cut, and whether the description was left out whole or in part.

    """
    kept = list(title[:limit])
    room = limit - len(kept)
    kept.extend(description[:room])
    return kept, len(title) > limit, len(description) > room
