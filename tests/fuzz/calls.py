"""Makes calls of a ranker whose arguments are damaged, for a fuzz run in process."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from mutations import SECRET

from onyxrank import Item, Ranker
from onyxrank.integrations.sentence_transformers import CrossEncoder

_TITLES = ["tent", f"{SECRET} pegs", "camping stove", "wool yarn 🧶", "x" * 2000]


_ODD: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        3,
        10**400,
        10**5000,
        -(10**5000),
        2.5,
        math.nan,
        math.inf,
        1j,
        Decimal("NaN"),
        Fraction(1, 3),
        Fraction(10**400),
    ),
    *("", " ", "\ud800", "\x00", "\u0301", "a\x00b", "x" * 20_000, b"tent", bytearray(b"a"), object(), int),
    *([], (), {}, set(), [[]], [None], ["tent", 3], {"title": "tent"}, {"title": None}, {"id": 3}, range(3)),
    *(np.float32(1), np.int64(2), np.str_("tent"), np.array("tent"), np.array([1, 2]), np.zeros((2, 2))),
    *(Item("a", "tent"), Item("", ""), Item(3, None), pd.NA, pd.NaT, pd.Series(["tent"]), pl.Series(["tent"])),
    *(pd.DataFrame({"title": ["tent", None]}), pl.DataFrame({"a": [1]}), pa.table({"title": ["tent"]})),
    *(lambda: None, NotImplemented, ...),
]
"""Values that are no texts, no lists of texts, no numbers, or odd ones."""


def _odd(random: Random) -> Any:
    return iter(["tent", ""]) if random.random() < 0.02 else random.choice(_ODD)


def _maybe(random: Random, value: Any, share: float = 0.25) -> Any:
    return _odd(random) if random.random() < share else value


def _items(random: Random) -> Any:
    titles = [_maybe(random, random.choice(_TITLES), 0.1) for _ in range(random.randint(0, 6))]
    kind = random.randrange(6)
    if kind == 0:
        return titles
    if kind == 1:
        return [{"id": _maybe(random, number, 0.1), "title": title} for number, title in enumerate(titles)]
    if kind == 2:
        return [Item(str(number), title, _maybe(random, "red", 0.1)) for number, title in enumerate(titles)]
    texts = [title if isinstance(title, str) and title.isprintable() else None for title in titles]
    if kind == 3:
        return random.choice([pd, pl]).DataFrame({"item_title": texts})
    if kind == 4:
        return pa.table({"title": pa.array(texts, pa.string())})
    return iter(titles)


def _history(random: Random) -> Any:
    return _maybe(random, [_maybe(random, random.choice(_TITLES), 0.1) for _ in range(random.randint(0, 4))], 0.15)


def call(ranker: Ranker, random: Random) -> Any:
    """Make one call; whatever it raises goes to the caller."""
    history, items = _history(random), _maybe(random, _items(random), 0.1)
    top_k = random.choice([None, None, 1, 3, _odd(random)])
    deadline = random.choice([None, None, 10.0, 0, _odd(random)])
    kind = random.randrange(9)
    if kind == 0:
        return ranker.rank(history, items, top_k, deadline=deadline)
    if kind == 1:
        return ranker.score(history, items, deadline=deadline)
    if kind == 2:
        pairs = [(history, items), _maybe(random, (_history(random), _items(random)), 0.2)]
        return ranker.rank_many(_maybe(random, pairs, 0.1), top_k, deadline=deadline)
    if kind == 3:
        return ranker.recommend(history, items)
    if kind == 4:
        return asyncio.run(ranker.arank(history, items, top_k, deadline=deadline))
    if kind == 5:
        return ranker.prepare(history).rank(items, top_k, deadline=deadline)
    if kind == 6:
        return ranker.score_frame(_maybe(random, _frame(random), 0.2), progress=False)
    model = CrossEncoder(ranker)
    if kind == 7:
        return model.rank(_maybe(random, "tent", 0.1), items, top_k)
    return model.predict(_maybe(random, [("tent", _maybe(random, "lamp", 0.2)) for _ in range(3)], 0.2))


def _frame(random: Random) -> Any:
    rows = random.randint(0, 5)
    columns = {
        "request_id": [random.choice([1, 2]) for _ in range(rows)],
        "history": ["tent"] * rows,
        "title": [random.choice(["lamp", "stove", None, ""]) for _ in range(rows)],
    }
    if random.random() < 0.2:
        columns.pop(random.choice(list(columns)))
    return random.choice([pd.DataFrame, pl.DataFrame])(columns)
