"""The demo shop: made-up items and shoppers to train and rank on, the same for everyone.

>>> shop = build_shop()
>>> write_shop("shop")                      # read it back with onyxrank_export.data.reading.read_data("shop")

Nothing in it is real. It is made so that understanding pays: see ``shop_words`` and ``shop_shoppers``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from onyxrank_export.data._dice import Dice
from onyxrank_export.data._tables import table_files
from onyxrank_export.data.shop_catalogue import Product, build_catalogue
from onyxrank_export.data.shop_season import ShopEvent, live_season
from onyxrank_export.data.shop_shoppers import Customer, Market, draw_customer
from onyxrank_export.data.values import DataError, Fault

LEAST_ITEMS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """A made-up shop and a season in it.

    Attributes:
        products: the catalogue.
        shoppers: the customers.
        seasons: for each shopper what they did, in order of time.

    """

    products: tuple[Product, ...]
    shoppers: tuple[Customer, ...]
    seasons: tuple[tuple[ShopEvent, ...], ...]

    def items_table(self) -> pl.DataFrame:
        """Return ``item_id, item_title, item_description``, and for the curious brand, department, price."""
        return pl.DataFrame(
            {
                "item_id": [product.item.id for product in self.products],
                "item_title": [product.item.title for product in self.products],
                "item_description": [product.item.description for product in self.products],
                "brand": [product.brand for product in self.products],
                "department": [product.department for product in self.products],
                "price": [product.price / 100 for product in self.products],
            }
        )

    def interactions_table(self) -> pl.DataFrame:
        """Return ``user_id, item_id, behavior, timestamp``, in order of time."""
        rows = [
            (shopper.id, self.products[event.product].item.id, event.behavior, event.timestamp)
            for shopper, season in zip(self.shoppers, self.seasons, strict=True)
            for event in season
        ]
        types = {"user_id": pl.String, "item_id": pl.String, "behavior": pl.Int8, "timestamp": pl.Int64}
        return pl.DataFrame(rows, schema=types, orient="row").sort("timestamp", maintain_order=True)


def build_shop(*, seed: int = 0, n_items: int = 2000, n_shoppers: int = 1500) -> Shop:
    """Make the shop; the same for the same arguments, on every machine and version of Python.

    Args:
        seed: any whole number from 0.
        n_items: size of the catalogue, at least 40.
        n_shoppers: number of customers, each with 6 to 15 purchases and a few more products looked at and
            left; the first ones are the same however many there are.

    Raises:
        ValueError: if one of them is too small.

    """
    if n_items < LEAST_ITEMS or n_shoppers < 1 or seed < 0:
        raise ValueError(f"a shop needs a seed from 0, {LEAST_ITEMS} items and 1 shopper at least")
    products = build_catalogue(seed, n_items)
    market = Market(seed, products)
    shoppers, seasons = [], []
    for number in range(1, n_shoppers + 1):
        dice = Dice(seed, 2, number)
        shoppers.append(draw_customer(dice, number))
        seasons.append(tuple(live_season(dice, shoppers[-1], market)))
    return Shop(products, tuple(shoppers), tuple(seasons))


def write_shop(
    folder: str | Path,
    *,
    seed: int = 0,
    n_items: int = 2000,
    n_shoppers: int = 1500,
    file_format: Literal["parquet", "csv"] = "parquet",
) -> Shop:
    """Make the shop and write its two tables, as ``read_data`` takes them.

    Args:
        folder: made if it is not there.
        seed: as for ``build_shop``, and so are the next two.
        n_items: size of the catalogue.
        n_shoppers: number of customers.
        file_format: of both files.

    Raises:
        DataError: if the folder holds such tables already; they are left as they are.

    """
    folder = Path(folder)
    present = [path for stem in ("interactions", "items") for path in table_files(folder, stem)]
    if present:
        raise DataError(Fault(str(path), None, None, "is there already; choose another folder") for path in present)
    shop = build_shop(seed=seed, n_items=n_items, n_shoppers=n_shoppers)
    folder.mkdir(parents=True, exist_ok=True)
    for stem, table in (("interactions", shop.interactions_table()), ("items", shop.items_table())):
        path = folder / f"{stem}.{file_format}"
        if file_format == "csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)
    return shop
