"""The lists of the quality tables: which data sets, split and ranked by which protocols.

Behaviour data is split by each shopper's last basket and by one cut in time, and each split is ranked among sampled
items and among the whole catalogue. The published split comes with its validation and test rows, and its targets are
ranked among all items, nothing left out, as in the papers. Search data has the labelled items of its queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from onyxrank_export.data.lists import CandidateList, lists_of_test, titles
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import BehaviourSplit, Split, split_data
from onyxrank_export.data.values import Interactions, SearchLabels
from onyxrank_export.evaluation.evaluate import validation_lists

PUBLISHED = "amazon2018_office_published_split"
SETS = ("amazon2018_office", "online_retail_uci", PUBLISHED, "homedepot_search_relevance")
_SPLITS, _PROTOCOLS = ("last", "time"), ("sampled", "full")


@dataclass(frozen=True, slots=True)
class Task:
    """One split of a data set.

    Attributes:
        data_set: its name.
        split: the name of the split.
        path: the folder of the data.
        parts: the data in its three parts.
        validation: validation lists by protocol.
        test: test lists by protocol.

    """

    data_set: str
    split: str
    path: Path
    parts: Split
    validation: Mapping[str, Sequence[CandidateList]]
    test: Mapping[str, Sequence[CandidateList]]


def tasks(path: Path) -> Iterator[Task]:
    """Make the tasks of the data set in a folder."""
    data = read_data(path)
    if path.name == PUBLISHED:
        assert isinstance(data, Interactions)
        yield _published(path, data)
    elif isinstance(data, SearchLabels):
        parts = split_data(data)
        protocol = "labels"
        yield Task(
            path.name,
            "queries",
            path,
            parts,
            {protocol: validation_lists(parts, "sampled")},
            {protocol: lists_of_test(parts)},
        )
    else:
        for way in _SPLITS:
            parts = split_data(data, way)
            yield Task(
                path.name,
                way,
                path,
                parts,
                {protocol: validation_lists(parts, protocol) for protocol in _PROTOCOLS},
                {protocol: lists_of_test(parts, protocol=protocol) for protocol in _PROTOCOLS},
            )


def _published(path: Path, data: Interactions) -> Task:
    """All interactions are training; validation and test are rows of files of their own."""
    split = split_data(data)
    assert isinstance(split, BehaviourSplit)
    shoppers = tuple(replace(each, training=len(each.purchases), validation=(), test=()) for each in split.shoppers)
    bought = np.concatenate([each.purchases for each in shoppers])
    popularity = np.bincount(bought, minlength=len(data.items)).astype(np.int64)
    parts = BehaviourSplit(data, "published", shoppers, popularity)
    return Task(
        path.name,
        "published",
        path,
        parts,
        {"full": rows_of(parts, path / "valid.parquet")[::10]},
        {"full": rows_of(parts, path / "test.parquet")},
    )


def rows_of(parts: BehaviourSplit, path: Path) -> Sequence[CandidateList]:
    """Read rows of a history of item ids and a target, to be ranked among all items."""
    places = {item.id: place for place, item in enumerate(parts.data.items)}
    everything = np.arange(len(places), dtype=np.int32)
    lists = []
    for history, target in pl.read_parquet(path).select("history", "item_id").iter_rows():
        events = np.array([places[item] for item in history], np.int32)
        labels = (everything == places[target]).astype(np.float32)
        lists.append(CandidateList(titles(parts, events), everything, labels, events))
    return lists
