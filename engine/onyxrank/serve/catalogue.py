"""The items that the page shows. They are found by title, and where there are many, candidates are chosen to rank.

Candidates are chosen in these steps:

1. The items whose title holds every word of the filter come into question, or all items if there is no filter.
2. If they are no more than the number asked for, all of them are candidates.
3. Otherwise up to half of the places go to items that share words with the query or the history; rare words count
   more.
4. The other places go to a random sample that is the same every time. So a ranking changes because the history has
   changed, and not because it has other items.
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
"""Share of the titles above which a word is too common to tell them apart, and is not counted."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The items that were chosen to be ranked.

    Attributes:
        positions: positions of the candidates in the catalogue, ascending.
        matching: number of items in the catalogue that the filter lets through.
        related: number of candidates that were chosen because they share words with the query or the history.

    """

    positions: tuple[int, ...]
    matching: int
    related: int


class Catalogue:
    """Items in memory, with an index of the words of their titles. It does not change, so any thread may ask it.

    Args:
        items: the items, in the order of their file; empty if the server has no catalogue.

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
        """Read the items of a file. Without a file the catalogue is empty.

        Raises:
            InvalidInput: if `read_items` cannot read the file.

        """
        return cls(() if file is None else read_items(Path(file)))

    def __len__(self) -> int:
        return len(self.items)

    def matching(self, search: str) -> list[int]:
        """Return the positions of the items whose title holds every word of a search, whatever their case.

        A blank search finds all items.
        """
        parts = search.casefold().split()
        if not parts:
            return list(range(len(self)))
        return [index for index, title in enumerate(self._titles) if all(part in title for part in parts)]

    def candidates(self, texts: Sequence[str], within: str, most: int) -> Candidates:
        """Choose the items to rank.

        Args:
            texts: the query, or the texts of the history.
            within: words of the filter, which titles must hold; empty for no filter.
            most: most candidates to choose.

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
        """Return the allowed positions of items that share words with the texts, best first.

        Items are ordered by the sum of the shared words' weights, the logarithm of how rare each word is.
        """
        weights = np.zeros(len(self), np.float32)
        for word in {word for text in texts for word in _WORD.findall(text.casefold())}:
            having = self._having.get(word)
            if having is not None and len(having) <= _COMMON * len(self):
                weights[having] += math.log(len(self) / len(having))
        weights[~allowed] = 0
        best: list[int] = np.argsort(-weights, kind="stable")[:most].tolist()
        return [position for position in best if weights[position] > 0]
