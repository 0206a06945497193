"""A catalogue in a script that the vocabulary does not have: nothing is trained on it or measured unasked."""

from __future__ import annotations

import polars as pl
import pytest
from short_training import facts, fit

from onyxrank import Ranker
from onyxrank.request.readability import UnreadableCatalogue
from onyxrank_export.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def thai_data(aisle_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thai")
    items = pl.read_parquet(aisle_data / "items.parquet")
    titles = ["ก" * (1 + number) for number in range(len(items))]
    items.with_columns(item_title=pl.Series(titles)).write_parquet(folder / "items.parquet")
    pl.read_parquet(aisle_data / "interactions.parquet").write_parquet(folder / "interactions.parquet")
    return folder


@pytest.mark.parametrize("arch", ["cross", "late-interaction"])
def test_training_refuses_before_it_writes_anything(trained_run, thai_data, tmp_path, arch):
    with pytest.raises(UnreadableCatalogue, match=r"100\.0% of the titles are wholly unknown, 100\.0% identical"):
        fit(thai_data, tmp_path / "run", base=str(trained_run), arch=arch)
    assert not (tmp_path / "run").exists()


def test_evaluation_refuses_unless_it_is_allowed(trained_bundle, thai_data):
    with Ranker.load(trained_bundle, variant="fp32", threads=1) as ranker:
        with pytest.raises(UnreadableCatalogue, match="--allow-unknown"):
            evaluate(ranker, thai_data, most=5, baselines=["popularity"])
        found = evaluate(ranker, thai_data, most=40, baselines=["popularity"], allow_unknown=1.0)
    assert found.readability.shares["unreadable_titles"] == 1.0


def test_a_run_says_what_its_vocabulary_read(trained_run):
    told = facts(trained_run)["data"]["readability"]
    assert told["unknown_tokens"] == 0
    assert told["titles"] == 96
