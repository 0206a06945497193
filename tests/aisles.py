"""Data that a 2-layer model learns in seconds: a shopper buys in one aisle and one colour, a query names both.

The demo shop is more like the world, but a model from scratch needs far longer to see what it is made of.
"""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl

AISLES = {
    "camping": ["tent", "pegs", "stove", "lantern", "mat", "axe"],
    "office": ["desk", "stapler", "binder", "folder", "lamp", "pen"],
    "kitchen": ["grinder", "kettle", "whisk", "ladle", "pan", "jug"],
    "garden": ["hose", "spade", "rake", "trowel", "shears", "pot"],
}
COLOURS = ["red", "blue", "green", "grey"]


def items_table() -> pl.DataFrame:
    rows = [
        (f"{aisle[:2]}-{noun}-{colour}", f"{colour} {aisle} {noun}", f"{noun} for {aisle}")
        for aisle, nouns in AISLES.items()
        for noun in nouns
        for colour in COLOURS
    ]
    return pl.DataFrame(rows, schema=["item_id", "item_title", "item_description"], orient="row")


def write_aisles(folder: Path, *, shoppers: int = 240, seed: int = 0) -> Path:
    """Behaviour data: 4 to 6 purchases of one aisle and colour, and now and then a look at something else."""
    dice = random.Random(seed)
    items = items_table()
    ids, titles = items["item_id"].to_list(), items["item_title"].to_list()
    rows = []
    for number in range(shoppers):
        aisle, colour = dice.choice(list(AISLES)), dice.choice(COLOURS)
        liked = [index for index, title in enumerate(titles) if title.startswith(f"{colour} {aisle} ")]
        others = [index for index, title in enumerate(titles) if aisle not in title and colour not in title]
        for index in dice.sample(liked, dice.randint(4, 6)):
            rows.append((f"u{number}", ids[index], 1, len(rows)))
            if dice.random() < 0.3:
                rows.append((f"u{number}", ids[dice.choice(others)], 0, len(rows)))
    folder.mkdir(parents=True, exist_ok=True)
    schema = ["user_id", "item_id", "behavior", "timestamp"]
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(folder / "interactions.parquet")
    items.write_parquet(folder / "items.parquet")
    return folder


def write_search(folder: Path, *, queries: int = 80, seed: int = 0) -> Path:
    """Search data: 12 items per query, 3 where both words fit, 1 to 3 where one does."""
    dice = random.Random(seed)
    items = items_table()
    texts, labels = [], []
    for number in range(queries):
        aisle, colour = dice.choice(list(AISLES)), dice.choice(COLOURS)
        texts.append((f"q{number}", f"{colour} {aisle}"))
        shown = dice.sample(range(len(items)), 11)
        shown.append(
            dice.choice([row for row in range(len(items)) if items["item_title"][row].startswith(texts[-1][1])])
        )
        for row in dict.fromkeys(shown):
            words = items["item_title"][row].split()
            labels.append((f"q{number}", items["item_id"][row], 1 + (aisle in words) + (colour in words)))
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(texts, schema=["query_id", "query"], orient="row").write_parquet(folder / "queries.parquet")
    pl.DataFrame(labels, schema=["query_id", "item_id", "label"], orient="row").write_parquet(
        folder / "labels.parquet"
    )
    items.write_parquet(folder / "items.parquet")
    return folder
