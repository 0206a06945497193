"""The truncation policy, as pure functions over token ids. Training and serving both call these.

History: the newest tokens that fit. If the cut falls inside an event, the whole of that event is left out, so
that the model never reads half an old title as if it were one; a single event longer than the limit keeps its
newest (last) tokens. Items: the title first, then as much description as fits; of an overlong title the
beginning.

Limits count content tokens; the special tokens of the template come on top (`TEMPLATE_TOKENS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onyxrank.errors import InvalidInput

HISTORY_SEPARATOR = ";"
TEMPLATE_TOKENS = 3
"""[CLS] history [SEP] item [SEP]: the tokens the template adds to a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many content tokens of each side the model reads.

    Attributes:
        history_tokens: most tokens of history, separators between events included.
        item_tokens: most tokens of title and description together.

    """

    history_tokens: int = 128
    item_tokens: int = 48

    def __post_init__(self) -> None:
        for field in ("history_tokens", "item_tokens"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidInput(f"limits.{field} must be a whole number of at least 1, not {value!r}", field=field)

    @property
    def sequence_tokens(self) -> int:
        """Longest sequence the model sees, special tokens included."""
        return self.history_tokens + self.item_tokens + TEMPLATE_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """What truncation left out of one request: counts only, never text.

    Attributes:
        history_events: events of the history left out whole or in part.
        titles: items whose title did not fit.
        descriptions: items whose description did not fit, whole or in part.

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
        The token ids, and how many events were left out or cut.

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
        The token ids, whether the title was cut, and whether the description was.

    """
    kept = list(title[:limit])
    room = limit - len(kept)
    kept.extend(description[:room])
    return kept, len(title) > limit, len(description) > room
