"""The protocol of the quality tables on real data; skipped where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onyxrank_export.data.lists import lists_of_test, lists_of_validation
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.baselines.popularity import popularity, rarity
from onyxrank_export.evaluation.metrics import ranking_metrics

REAL = Path(os.environ.get("ONYXRANK_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")


def test_office_splits_by_the_old_protocol():
    split = split_data(read_data(REAL / "amazon2018_office"), "last-item")
    lists = lists_of_test(split, protocol="sampled-v1")
    assert len(lists) == len(lists_of_validation(split, most=10**6)) == 2886
    assert {len(row.items) for row in lists} == {40}
    assert {row.labels.sum() for row in lists} == {1}
    figures = ranking_metrics([row.labels for row in lists], popularity(split.popularity)(lists))
    assert figures["auc"] == pytest.approx(0.39, abs=0.01)


def test_a_target_that_nobody_bought_in_training_is_not_given_away():
    """The hole of the old protocol: by rarity alone such targets stood first on every list."""
    data = read_data(REAL / "amazon2018_office")
    found = []
    for way, protocol in (("last-item", "sampled-v1"), ("last", "sampled")):
        split = split_data(data, way)
        lists = [
            row
            for row in lists_of_test(split, protocol=protocol)
            if split.popularity[row.items[row.labels > 0]].min() == 0
        ]
        assert len(lists) > 200
        found.append(ranking_metrics([row.labels for row in lists], rarity(split.popularity)(lists))["ndcg_at_10"])
    assert found[0] == 1.0
    assert found[1] < 0.8


def test_baskets_of_online_retail_are_held_out_whole():
    split = split_data(read_data(REAL / "online_retail_uci"))
    assert all(row.waited > 0 for row in lists_of_test(split))


def test_search_splits_by_query():
    split = split_data(read_data(REAL / "homedepot_search_relevance"))
    lists = lists_of_test(split)
    assert len(lists) == len(split.test) == 1179
    assert sum(len(row.items) for row in lists) == pytest.approx(7407, rel=0.1)
