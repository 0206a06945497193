"""The folder that a page's blocks run in: the names that they use, with something small behind each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from aisles import write_aisles

ITEMS = [
    {"item_id": "b1", "item_title": "Compact gas camping stove", "item_description": "Boils a litre fast."},
    {"item_id": "b2", "item_title": "Desk lamp with dimmer"},
    {"item_id": "b3", "item_title": "Coffee grinder", "item_description": "With steel blades."},
]


def write_data(folder: Path, shoppers: int = 60) -> None:
    """interactions.csv: what an aisle's shoppers did, in the one-file form."""
    import polars as pl

    tables = write_aisles(folder / ".aisles", shoppers=shoppers)
    rows = pl.read_parquet(tables / "interactions.parquet")
    rows.join(pl.read_parquet(tables / "items.parquet"), on="item_id").write_csv(folder / "interactions.csv")


def write_requests(folder: Path) -> None:
    """items.jsonl and requests.jsonl."""
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    request = {"history": ["steel tent pegs"], "items": ITEMS}
    (folder / "requests.jsonl").write_text((json.dumps(request) + "\n") * 4)


def copy_bundle(source: Path, target: Path) -> None:
    """A bundle of its own, so that a page may write a profile into it."""
    shutil.copytree(source, target)
