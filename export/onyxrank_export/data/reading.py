"""Reading what shoppers did, or how items answer queries, from csv or parquet.

1. The form of the data follows from the path: one file, a folder with interactions, or a folder with queries.
2. Every table is opened and every column checked; whatever is wrong is noted and checking goes on.
3. If anything is wrong, all of it is raised as one error: no row is dropped or repaired.
4. Else rows are put in the order of time, and ids become positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onyxrank.request.items import Item
from onyxrank_export.data import _checks as checks
from onyxrank_export.data._faults import Faults
from onyxrank_export.data._fingerprint import fingerprint
from onyxrank_export.data._tables import SUFFIXES, Table, open_table, read_table, table_files
from onyxrank_export.data._times import MICROSECONDS
from onyxrank_export.data.values import Interactions, SearchLabels

_ITEMS = {
    "item_id": checks.check_id,
    "item_title": checks.check_filled_text,
    "item_description": checks.check_text,
}
_INTERACTIONS = {
    "user_id": checks.check_id,
    "item_id": checks.check_id,
    "behavior": checks.check_behavior,
    "timestamp": checks.check_time,
}
_ONE_FILE = {**_INTERACTIONS, **_ITEMS}
_QUERIES = {"query_id": checks.check_id, "query": checks.check_filled_text}
_LABELS = {"query_id": checks.check_id, "item_id": checks.check_id, "label": checks.check_label}
_OPTIONAL = ("timestamp",)


def read_data(path: str | Path) -> Interactions | SearchLabels:
    """Read and check a data set.

    Args:
        path: one csv or parquet file with columns ``user_id, item_id, behavior, item_title,
            item_description`` and optionally ``timestamp``; or a folder with ``interactions`` (``user_id,
            item_id, behavior[, timestamp]``) and ``items`` (``item_id, item_title, item_description``); or a
            folder with ``queries`` (``query_id, query``), ``items`` and ``labels`` (``query_id, item_id,
            label``), each csv or parquet. Other columns are ignored. ``behavior`` is 1 (bought) or 0 (not);
            ``timestamp`` is in seconds since 1970, or a date and time (UTC where it names no zone).

    Returns:
        ``SearchLabels`` for a folder with queries, else ``Interactions``. In the one-file form an item has
        the title and description of its newest row, since shops rename what they sell.

    Raises:
        DataError: naming everything that is wrong, by file, row and column.

    """
    path = Path(path)
    faults = Faults()
    if path.is_file():
        return _read_one_file(path, faults)
    if not path.is_dir():
        faults.add(str(path), "no such file or folder")
        faults.raise_any()
    search = [found for stem in ("queries", "labels") for found in table_files(path, stem)]
    behaviour = table_files(path, "interactions")
    if search and behaviour:
        faults.add(path.name, f"has both {behaviour[0].name} and {search[0].name}; give each a folder of its own")
    elif not search and not behaviour and (parts := _parts(path)):
        faults.add(
            path.name, f"has {parts} csv or parquet files of other names; join parts of one table into one file"
        )
    elif not search and not behaviour:
        endings = " or ".join(SUFFIXES)
        faults.add(path.name, f"has no interactions and no queries and labels (and items) ending in {endings}")
    faults.raise_any()
    return _read_search(path, faults) if search else _read_behaviour(path, faults)


def _parts(folder: Path) -> int:
    """Count the tables of a folder, which other programs write as one table in several parts."""
    return sum(path.name.lower().endswith(SUFFIXES) for path in folder.iterdir())


def _read_one_file(path: Path, faults: Faults) -> Interactions:
    if not path.name.lower().endswith(SUFFIXES):
        faults.add(path.name, f"is none of {', '.join(SUFFIXES)}")
        faults.raise_any()
    raw = read_table(path, _ONE_FILE, faults, optional=_OPTIONAL)
    rows = _checked(raw, _ONE_FILE, faults).frame
    faults.raise_any()
    rows = _in_time_order(rows)
    return _interactions(rows, rows.select(list(_ITEMS)).group_by("item_id", maintain_order=True).last())


def _read_behaviour(folder: Path, faults: Faults) -> Interactions:
    raw = open_table(folder, "interactions", _INTERACTIONS, faults, optional=_OPTIONAL)
    rows = _checked(raw, _INTERACTIONS, faults)
    items = _catalogue(folder, faults)
    checks.check_known(rows, items, "item_id", faults)
    faults.raise_any()
    return _interactions(_in_time_order(rows.frame), items.frame)


def _read_search(folder: Path, faults: Faults) -> SearchLabels:
    queries = _checked(open_table(folder, "queries", _QUERIES, faults), _QUERIES, faults)
    checks.check_unique(queries.frame, "query_id", queries.name, faults)
    items = _catalogue(folder, faults)
    labels = _checked(open_table(folder, "labels", _LABELS, faults), _LABELS, faults)
    checks.check_known(labels, queries, "query_id", faults)
    checks.check_known(labels, items, "item_id", faults)
    faults.raise_any()
    return _search_labels(labels.frame, queries.frame, items.frame)


def _checked(raw: Table, columns: Mapping[str, checks.Check], faults: Faults) -> Table:
    return Table(raw.name, checks.check_table(raw, columns, faults))


def _catalogue(folder: Path, faults: Faults) -> Table:
    items = _checked(open_table(folder, "items", _ITEMS, faults), _ITEMS, faults)
    checks.check_unique(items.frame, "item_id", items.name, faults)
    return items


def _in_time_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("timestamp", maintain_order=True) if "timestamp" in rows.columns else rows


def _interactions(rows: pl.DataFrame, items: pl.DataFrame) -> Interactions:
    catalogue = _items(items)
    user_ids = rows["user_id"].unique(maintain_order=True)
    users = tuple(user_ids.to_list())
    user = _positions(rows["user_id"], user_ids)
    item = _positions(rows["item_id"], items["item_id"])
    behavior = np.array(rows["behavior"].to_numpy(), dtype=np.int8)
    timestamp = None
    if "timestamp" in rows.columns:
        timestamp = np.floor_divide(rows["timestamp"].to_numpy(), MICROSECONDS, dtype=np.int64)
    content = fingerprint(*_texts(catalogue), users, user, item, behavior, timestamp)
    return Interactions(catalogue, users, user, item, behavior, timestamp, content)


def _search_labels(rows: pl.DataFrame, queries: pl.DataFrame, items: pl.DataFrame) -> SearchLabels:
    catalogue = _items(items)
    texts, query_ids = tuple(queries["query"].to_list()), tuple(queries["query_id"].to_list())
    query = _positions(rows["query_id"], queries["query_id"])
    item = _positions(rows["item_id"], items["item_id"])
    label = np.array(rows["label"].to_numpy(), dtype=np.float32)
    content = fingerprint(*_texts(catalogue), texts, query_ids, query, item, label)
    return SearchLabels(catalogue, texts, query_ids, query, item, label, content)


def _items(frame: pl.DataFrame) -> tuple[Item, ...]:
    return tuple(map(Item, frame["item_id"], frame["item_title"], frame["item_description"]))


def _texts(items: tuple[Item, ...]) -> tuple[list[str], list[str], list[str]]:
    return [item.id for item in items], [item.title for item in items], [item.description for item in items]


def _positions(ids: pl.Series, known: pl.Series) -> NDArray[np.int32]:
    position = pl.Series(range(len(known)), dtype=pl.Int32)
    return np.array(ids.replace_strict(known, position, return_dtype=pl.Int32).to_numpy(), dtype=np.int32)
