"""The items that the page shows: found by title, and picked as candidates where there are too many to rank all.

How candidates are picked:

1. Items whose title holds every word of a filter; all of them without one.
2. If these are no more than asked for, all.
3. Otherwise up to half of the places go to items that share words with the query or history, rare words first.
4. The other places go to a random sample, which is the same every time: so a ranking moves because the history
   changed and not because other items are in it.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onyxrank.request.items import Item
from onyxrank.request.items_file import read_items

_WORD = re.compile(r"\w+")
_COMMON = 0.2
"""A word in more than this share of the titles says nothing about any of them."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items to rank.

    Attributes:
        positions: in the catalogue, ascending.
        matching: how many items the filter let through.
        related: how many of the candidates are there because they share words with what was asked.

    """

    positions: tuple[int, ...]
    matching: int
    related: int


class Catalogue:
    """Items in memory. Immutable; any thread may ask.

    Args:
        items: in the order of their file; none if there is no catalogue.

    """

    def __init__(self, items: Sequence[Item] = ()) -> None:
        self.items = tuple(items)
        self._titles = [item.title.casefold() for item in self.items]
        self._shuffled = random.Random(0).sample(range(len(self.items)), len(self.items))
        found: dict[str, list[int]] = {}
        for position, title in enumerate(self._titles):
            for word in set(_WORD.findall(title)):
                found.setdefault(word, []).append(position)
        self._having = {word: np.array(positions, np.int32) for word, positions in found.items()}

    @classmethod
    def read(cls, file: str | None) -> Catalogue:
        """Read the items of a file; None gives an empty catalogue.

        Raises:
            InvalidInput: as `read_items`.

        """
        return cls(() if file is None else read_items(Path(file)))

    def __len__(self) -> int:
        return len(self.items)

    def matching(self, search: str) -> list[int]:
        """Positions of the items whose title holds every word of the search, in any case; all if it is blank."""
        parts = search.casefold().split()
        if not parts:
            return list(range(len(self)))
        return [index for index, title in enumerate(self._titles) if all(part in title for part in parts)]

    def candidates(self, texts: Sequence[str], within: str, most: int) -> Candidates:
        """Pick what to rank.

        Args:
            texts: the query, or the history.
            within: the filter.
            most: number of candidates.

        """
        pool = self.matching(within)
        if len(pool) <= most:
            return Candidates(tuple(pool), len(pool), 0)
        allowed = np.zeros(len(self), bool)
        allowed[pool] = True
        related = self._related(texts, allowed, most // 2)
        chosen = set(related)
        for position in self._shuffled:
            if len(chosen) == most:
                break
            if allowed[position]:
                chosen.add(position)
        return Candidates(tuple(sorted(chosen)), len(pool), len(related))

    def _related(self, texts: Sequence[str], allowed: np.ndarray, most: int) -> list[int]:
        """Items that share words with the texts, by the weight of these words."""
        weights = np.zeros(len(self), np.float32)
        for word in {word for text in texts for word in _WORD.findall(text.casefold())}:
            having = self._having.get(word)
            if having is not None and len(having) <= _COMMON * len(self):
                weights[having] += math.log(len(self) / len(having))
        weights[~allowed] = 0
        best: list[int] = np.argsort(-weights, kind="stable")[:most].tolist()
        return [position for position in best if weights[position] > 0]
