"""The protocol of the quality tables on real data; skipped where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onyxrank_export.data.pairs import lists_of_test, lists_of_validation
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.baselines import popularity_scores
from onyxrank_export.evaluation.metrics import ranking_metrics

REAL = Path(os.environ.get("ONYXRANK_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no real data beside the repository")


def test_office_splits_by_the_protocol():
    split = split_data(read_data(REAL / "amazon2018_office"))
    lists = lists_of_test(split)
    assert len(lists) == len(lists_of_validation(split, most=10**6)) == 2886
    assert {len(row.items) for row in lists} == {40}
    assert {row.labels.sum() for row in lists} == {1}
    figures = ranking_metrics([row.labels for row in lists], popularity_scores(lists, split.popularity))
    assert figures["auc"] == pytest.approx(0.39, abs=0.01)


def test_search_splits_by_query():
    split = split_data(read_data(REAL / "homedepot_search_relevance"))
    lists = lists_of_test(split)
    assert len(lists) == len(split.test) == 1179
    assert sum(len(row.items) for row in lists) == pytest.approx(7407, rel=0.1)
