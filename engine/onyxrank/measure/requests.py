"""Makes requests of a given size to measure with, of real texts cut to fit or of words of the bundle's vocabulary.

1. The history has exactly the number of tokens asked for. It is made of those events of the pool that fit, and of
   single words of one token each for what is left.
2. Items made of vocabulary words have exactly the number of tokens asked for. Real items keep their own length up to
   that number, so that their lengths are spread as in a real list.
3. Truncation finds nothing to cut, so that every implementation reads the same tokens from these texts.
4. Everything follows from the seed, and the first n items are the same however many items there are.

No text of a shopper is needed, and none is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

from onyxrank.bundle.opening import Bundle
from onyxrank.checks import check_count
from onyxrank.errors import InvalidInput
from onyxrank.loading.parts import load_encoder
from onyxrank.request.apart import ApartEncoder
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.items import Item
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.request.truncation import HISTORY_SEPARATOR

_SHORTEST_WORD = 3
"""Letters of the shortest word to make texts of; many shorter entries of a vocabulary are pieces of words."""
_SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which stand around an encoded history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The size of a request to make.

    Attributes:
        name: name of the workload in reports.
        history_tokens: exact number of tokens in the history, separators between events included.
        items: number of items.
        item_tokens: number of tokens in an item: exact for made-up items, and the most for real ones.

    """

    name: str
    history_tokens: int
    items: int
    item_tokens: int

    def __post_init__(self) -> None:
        for field in ("history_tokens", "items", "item_tokens"):
            check_count(getattr(self, field), field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Real texts to make requests of.

    Attributes:
        events: texts of the events that a history may have.
        items: items that a list may have.

    """

    events: Sequence[str]
    items: Sequence[Item]

    def __post_init__(self) -> None:
        if not self.events or not self.items:
            raise InvalidInput("a pool needs events and items", field="pool")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as texts.

    Attributes:
        history: texts of the events, oldest first.
        items: items to rank.

    """

    history: tuple[str, ...]
    items: tuple[Item, ...]

    def first(self, count: int) -> Request:
        """Return the same request with only its first `count` items."""
        return replace(self, items=self.items[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size that a request really has. Special tokens are not counted.

    Attributes:
        history_tokens: number of tokens in the history.
        items: number of items.
        item_tokens_mean: number of tokens in an item, as a mean over the items.
        item_tokens_max: number of tokens in the longest item.

    """

    history_tokens: int
    items: int
    item_tokens_mean: float
    item_tokens_max: int

    @classmethod
    def of(cls, encoded: EncodedRequest) -> Size:
        """Take the size of an encoded request, which must have items."""
        # An item ends with [SEP]; one that is read by itself begins with [CLS], as every event then does.
        texts, special = (1, 1) if encoded.events is None else (len(encoded.events.texts), _SPECIAL_TOKENS)
        lengths = encoded.items.lengths - special
        return cls(
            history_tokens=len(encoded.history) - _SPECIAL_TOKENS * texts,
            items=len(lengths),
            item_tokens_mean=round(float(lengths.mean()), 1),
            item_tokens_max=int(lengths.max()),
        )


def make_request(bundle: Bundle, workload: Workload, *, pool: Pool | None = None, seed: int = 0) -> Request:
    """Make a request of a workload's size.

    Args:
        bundle: the bundle whose tokenizer counts the tokens and whose limits hold.
        workload: the size of the request.
        pool: real texts to choose from, or None to make texts of words of the vocabulary.
        seed: seed of the random choices.

    Raises:
        InvalidInput: if the workload is larger than the bundle's limits, or if no text of exactly that size can be
            made with the bundle's tokenizer.

    """
    encoder = load_encoder(bundle)
    for field in ("history_tokens", "item_tokens"):
        asked, limit = getattr(workload, field), getattr(encoder.limits, field)
        if asked > limit:
            raise InvalidInput(f"{field} is {asked} and this bundle reads at most {limit}", field=field)
    words = _whole_words(bundle, encoder)
    history_dice, item_dice = (np.random.default_rng([seed, part]) for part in range(2))
    if pool is None:
        history = _history((), words, workload.history_tokens, encoder, history_dice)
        items = tuple(
            Item(str(number), _words_of(words, workload.item_tokens, item_dice)) for number in range(workload.items)
        )
    else:
        history = _history(pool.events, words, workload.history_tokens, encoder, history_dice)
        items = _items(pool.items, workload, encoder, item_dice)
    _check(encoder.encode(history, items), workload)
    return Request(history, items)


def _whole_words(bundle: Bundle, encoder: TextEncoder) -> list[str]:
    """List the vocabulary's plain English words that are one token each, in alphabetical order."""
    vocabulary = Tokenizer.from_file(str(bundle.path(bundle.manifest.tokenizer.file))).get_vocab()
    words = sorted(
        word
        for word in vocabulary
        if len(word) >= _SHORTEST_WORD and word.isascii() and word.isalpha() and word.islower()
    )
    whole = [word for word, ids in zip(words, encoder.token_ids(words), strict=True) if len(ids) == 1]
    if not whole:
        raise InvalidInput("the tokenizer has no plain words to make a request of", field="tokenizer")
    return whole


def _words_of(words: Sequence[str], count: int, dice: np.random.Generator) -> str:
    return " ".join(words[index] for index in dice.integers(len(words), size=count))


def _history(
    events: Sequence[str], words: Sequence[str], target: int, encoder: TextEncoder, dice: np.random.Generator
) -> tuple[str, ...]:
    if isinstance(encoder, ApartEncoder):
        return _events_apart(events, words, target, encoder, dice)
    [separator] = encoder.token_ids([HISTORY_SEPARATOR])
    lengths = [len(ids) for ids in encoder.token_ids(events)]
    chosen: list[str] = []
    room = target
    for index in dice.permutation(len(events)):
        cost = lengths[index] + (len(separator) if chosen else 0)
        if cost <= room:
            chosen.append(events[index])
            room -= cost
    if room:
        filler = _words_of(words, room, dice)
        chosen = [*chosen[:-1], " ".join([*chosen[-1:], filler])]
    return tuple(chosen)


def _events_apart(
    events: Sequence[str], words: Sequence[str], target: int, encoder: ApartEncoder, dice: np.random.Generator
) -> tuple[str, ...]:
    """Choose whole events, and make further ones of words, none longer than the encoder reads."""
    lengths = [len(ids) for ids in encoder.token_ids(events)]
    chosen: list[str] = []
    room, longest = target, encoder.limits.item_tokens
    for index in dice.permutation(len(events)):
        if lengths[index] <= min(room, longest):
            chosen.append(events[index])
            room -= lengths[index]
    made = [_words_of(words, min(longest, room - start), dice) for start in range(0, room, longest)]
    return (*made, *chosen)


def _items(
    items: Sequence[Item], workload: Workload, encoder: TextEncoder, dice: np.random.Generator
) -> tuple[Item, ...]:
    order = dice.permutation(len(items))
    made = []
    for number in range(workload.items):
        item = items[order[number % len(order)]]
        made.append(trim_item(item, str(number), workload.item_tokens, encoder))
    return tuple(made)


def trim_item(item: Item, identifier: str, most: int, encoder: TextEncoder) -> Item:
    """Return an item under another id with at most `most` tokens; its description is cut before its title."""
    title, used = trim(item.title, most, encoder)
    return Item(identifier, title, trim(item.description, most - used, encoder)[0])


def trim(text: str, most: int, encoder: TextEncoder) -> tuple[str, int]:
    """Cut a text at a space to at most `most` tokens.

    Returns:
        The text and its number of tokens.

    """
    words = text.split()

    def count_tokens(kept: int) -> int:
        return len(encoder.token_ids([" ".join(words[:kept])])[0])

    kept = bisect_right(range(len(words) + 1), most, key=count_tokens) - 1
    return " ".join(words[:kept]), count_tokens(kept)


def _check(encoded: EncodedRequest, workload: Workload) -> None:
    size = Size.of(encoded)
    if encoded.cuts or size.history_tokens != workload.history_tokens or size.item_tokens_max > workload.item_tokens:
        raise InvalidInput(
            f"this bundle's tokenizer does not count word by word: asked for {workload.history_tokens} tokens of "
            f"history and items of {workload.item_tokens}, made {size.history_tokens} and {size.item_tokens_max}",
            field="workload",
        )
