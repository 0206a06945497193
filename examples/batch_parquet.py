"""A batch job: scores a parquet file of requests, one row per shopper and item, into another.

python examples/batch_parquet.py [--requests in.parquet] [--out out.parquet]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

import demo_shop
from onyxrank import Ranker


def main() -> None:
    """Read, score, write, and show the best three of the first shopper."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=Path, help="columns user_id, history, item_id, item_title, …")
    parser.add_argument("--out", type=Path, default=Path("scored.parquet"))
    options = parser.parse_args()
    requests = pl.read_parquet(options.requests) if options.requests else demo_requests()
    with Ranker.load(demo_shop.bundle()) as ranker:
        scored = ranker.score_frame(requests, request="user_id")
    scored.write_parquet(options.out)
    print(f"{scored.height:,} rows of {scored['user_id'].n_unique():,} shoppers scored into {options.out}")
    first = scored.filter(pl.col("user_id") == scored["user_id"][0]).sort("rank").head(3)
    for row in first.iter_rows(named=True):
        print(f"{row['rank']:2}  {row['score']:.4f}  {row['item_title']}")


def demo_requests(shoppers: int = 100, items: int = 20) -> pl.DataFrame:
    """The made-up shop's shoppers, each with what they bought and the same number of candidates."""
    catalogue = demo_shop.catalogue()
    histories = (
        demo_shop.purchases()
        .join(catalogue, on="item_id", maintain_order="left")
        .group_by("user_id", maintain_order=True)
        .agg(history="item_title")
        .head(shoppers)
    )
    return histories.join(catalogue.sample(items, seed=0), how="cross")


if __name__ == "__main__":
    main()
