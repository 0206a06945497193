"""Reranks a search result: SQLite's full-text search finds, the ranker sorts.

python examples/rerank_search.py [words to look for]
"""

from __future__ import annotations

import sqlite3
import sys

import polars as pl

import demo_shop
from onyxrank import Item, Ranker

FOUND = 50
SHOWN = 5


def main() -> None:
    """Search the made-up shop and show the best hits before and after."""
    catalogue = demo_shop.catalogue()
    query = " ".join(sys.argv[1:]) or "forest green planter"
    found = search(index(catalogue), query)
    with Ranker.load(demo_shop.bundle()) as ranker:
        ranking = ranker.rank(query, found, top_k=SHOWN)
    print(f"{len(found)} items found for: {query}")
    print("\nas found")
    for place, item in enumerate(found[:SHOWN], 1):
        print(f"{place:2}  {item.title}")
    print("\nreranked")
    for hit in ranking:
        print(f"{hit.rank:2}  {hit.score:.4f}  {hit.item.title}  (found at {hit.index + 1})")


def index(catalogue: pl.DataFrame) -> sqlite3.Connection:
    """A full-text index in memory."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE items USING fts5(id UNINDEXED, title, description)")
    database.executemany("INSERT INTO items VALUES (?, ?, ?)", catalogue.iter_rows())
    return database


def search(database: sqlite3.Connection, query: str) -> list[Item]:
    """The best items by BM25 that hold any word of the query."""
    words = " OR ".join('"' + word.replace('"', '""') + '"' for word in query.split())
    rows = database.execute("SELECT id, title, description FROM items(?) ORDER BY rank LIMIT ?", (words, FOUND))
    return [Item(*row) for row in rows]


if __name__ == "__main__":
    main()
