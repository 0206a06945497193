"""Counts how much of a catalogue's texts a vocabulary cannot read.

A tokenizer puts its unknown token in the place of every word that its vocabulary has no pieces for. A title of such
words alone tells a model nothing, and all such titles are the same to it. Counts are kept, and never a text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from onyxrank.errors import InvalidInput
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.items import Item
from onyxrank.request.unknown import count_unknown

ALLOWED_UNKNOWN = 0.2
"""Most of each share of `Readability` that is taken without asking; ``--allow-unknown`` sets another."""
_TEXTS_AT_ONCE = 4096


class UnreadableCatalogue(InvalidInput):
    """The vocabulary cannot read too much of the catalogue."""

    def __init__(self, message: str) -> None:
        super().__init__(message, field="items")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readability:
    """How much of a catalogue a vocabulary cannot read.

    Attributes:
        tokens: number of tokens of all texts.
        unknown_tokens: how many of them are the unknown token.
        titles: number of titles.
        unreadable_titles: how many of them have no token but the unknown one.
        identical_titles: how many have an unknown token, and the same tokens as another title of another text.

    """

    tokens: int
    unknown_tokens: int
    titles: int
    unreadable_titles: int
    identical_titles: int

    @property
    def shares(self) -> dict[str, float]:
        """The three shares, 0.0 to 1.0: of tokens that are unknown, of titles that are, and of identical titles."""
        return {
            "unknown_tokens": self.unknown_tokens / max(1, self.tokens),
            "unreadable_titles": self.unreadable_titles / max(1, self.titles),
            "identical_titles": self.identical_titles / max(1, self.titles),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the shares as plain values."""
        return asdict(self) | {"shares": self.shares}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Readability:
        """Make the counts again of what `to_json` gave."""
        return cls(**{each.name: content[each.name] for each in fields(cls)})

    def sentence(self) -> str:
        """Say the three shares in one sentence."""
        tokens, unreadable, identical = (f"{share:.1%}" for share in self.shares.values())
        return (
            f"the vocabulary does not know {tokens} of the tokens; {unreadable} of the titles are wholly unknown, "
            f"{identical} identical to another because of that"
        )

    def check(self, allowed: float) -> None:
        """Make sure that no share is above what is allowed.

        Raises:
            InvalidInput: if `allowed` is no share.
            UnreadableCatalogue: if one is; the message says what helps.

        """
        check_allowed(allowed)
        if max(self.shares.values()) > allowed:
            raise UnreadableCatalogue(
                f"{self.sentence()}: choose a base for the language with --base, or a vocabulary of your own (--base "
                f"tiny makes one of the data); --allow-unknown {max(self.shares.values()):.2f} or more goes on "
                f"nevertheless (the limit is {allowed:g})"
            )


def check_allowed(allowed: float) -> None:
    """Raise `InvalidInput` if `allowed` is not a share from 0 to 1."""
    if not 0 <= allowed <= 1:
        raise InvalidInput(f"allow_unknown must be from 0 to 1, not {allowed}", field="allow_unknown")


def readability(encoder: TextEncoder, items: Sequence[Item], queries: Iterable[str] = ()) -> Readability:
    """Count what an encoder's vocabulary cannot read of the titles and descriptions of items, and of queries."""
    unknown = encoder.unknown_id
    tokens = unread = unreadable = 0
    alike: defaultdict[tuple[int, ...], set[str]] = defaultdict(set)
    doubtful: list[tuple[int, ...]] = []
    for title, ids in _tokenized(encoder, [item.title for item in items]):
        found = count_unknown(ids, unknown)
        tokens += len(ids)
        unread += found
        unreadable += found == len(ids)
        if found:
            doubtful.append(tuple(ids))
            alike[doubtful[-1]].add(title)
    for _, ids in _tokenized(encoder, [*(item.description for item in items), *queries]):
        tokens += len(ids)
        unread += count_unknown(ids, unknown)
    return Readability(
        tokens=tokens,
        unknown_tokens=unread,
        titles=len(items),
        unreadable_titles=unreadable,
        identical_titles=sum(len(alike[ids]) > 1 for ids in doubtful),
    )


def _tokenized(encoder: TextEncoder, texts: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Tokenize texts in blocks, so that the token ids of a large catalogue are never all in memory."""
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        block = texts[start : start + _TEXTS_AT_ONCE]
        yield from zip(block, encoder.token_ids(block), strict=True)
