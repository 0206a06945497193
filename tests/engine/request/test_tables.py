"""Tables of items, of each library."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from onyxrank import InvalidInput, Item, Ranker

HISTORY = ["steel tent", "camping stove"]
COLUMNS = {
    "item_id": ["a", "b", "c"],
    "price": [1.0, None, 3.0],
    "item_title": ["red tent", "desk lamp", "dog leash"],
    "item_description": ["light", None, "for the dog"],
}
ITEMS = [Item("a", "red tent", "light"), Item("b", "desk lamp"), Item("c", "dog leash", "for the dog")]
MAKERS = {
    "pandas": pd.DataFrame,
    "pandas, Arrow types": lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
    "pandas, objects": lambda columns: pd.DataFrame({name: np.array(v, object) for name, v in columns.items()}),
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "pyarrow batch": pa.RecordBatch.from_pydict,
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture
def ranker(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=1) as ranker:
        yield ranker


def test_a_table_ranks_as_the_items_in_its_rows(ranker, make):
    table = make(COLUMNS)
    assert ranker.rank(HISTORY, table) == ranker.rank(HISTORY, ITEMS)
    assert ranker.score(HISTORY, table).tolist() == ranker.score(HISTORY, ITEMS).tolist()
    assert ranker.prepare(HISTORY).rank(table, top_k=2) == ranker.rank(HISTORY, ITEMS, top_k=2)
    assert ranker.rank_many([(HISTORY, table)])[0] == ranker.rank(HISTORY, ITEMS)


def test_recommend_gives_a_table_of_the_same_kind_in_the_order_of_the_ranking(ranker, make):
    table = make(COLUMNS)
    best = ranker.recommend(HISTORY, table)
    assert type(best) is type(table)
    order = [hit.index for hit in ranker.rank(HISTORY, ITEMS)]
    assert list(pa.table(best)["item_id"].to_pylist()) == [ITEMS[index].id for index in order]
    assert list(pa.table(best)["price"].to_pylist()) == [COLUMNS["price"][index] for index in order]


def test_an_item_needs_only_a_title(ranker, make):
    ranking = ranker.rank(HISTORY, make({"title": ["red tent", "desk lamp"]}))
    assert sorted(hit.id for hit in ranking) == ["0", "1"]
    assert {hit.item.description for hit in ranking} == {""}


def test_whole_numbers_are_ids(ranker, make):
    ranking = ranker.rank(HISTORY, make({"id": [11, 12], "title": ["red tent", "desk lamp"]}))
    assert sorted(hit.id for hit in ranking) == ["11", "12"]


def test_no_rows_give_no_hits(ranker):
    for table in (pd.DataFrame({"title": []}), pl.DataFrame({"title": []}), pa.table({"title": []})):
        assert len(ranker.rank(HISTORY, table)) == 0
        assert len(ranker.recommend(HISTORY, table)) == 0


@pytest.mark.parametrize(
    ("columns", "field", "index"),
    [
        ({"title": ["red tent", None]}, "title", 1),
        ({"title": ["red tent", " "]}, "title", 1),
        ({"title": ["red tent", "lamp"], "id": ["a", None]}, "id", 1),
        ({"title": [1.5, 2.5]}, "title", 0),
        ({"name": ["red tent", "lamp"]}, "title", None),
    ],
    ids=["null title", "blank title", "null id", "numbers", "no title"],
)
def test_what_cannot_be_ranked_is_named(ranker, make, columns, field, index):
    with pytest.raises(InvalidInput) as caught:
        ranker.rank(HISTORY, make(columns))
    assert (caught.value.field, caught.value.index) == (field, index)
    assert "red tent" not in str(caught.value)


ARROW_TEXTS = [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", ARROW_TEXTS, ids=str)
@pytest.mark.parametrize("wrap", [pa.table, pa.RecordBatch.from_pydict], ids=["table", "batch"])
def test_every_text_of_arrow_is_read_and_taken(ranker, kind, wrap):
    titles = pa.array(COLUMNS["item_title"]).cast(kind)
    order = [hit.index for hit in ranker.rank(HISTORY, COLUMNS["item_title"])]
    best = ranker.recommend(HISTORY, wrap({"title": titles}))
    assert best["title"].to_pylist() == [COLUMNS["item_title"][index] for index in order]
    requests = wrap({"title": titles, "request_id": [1, 2, 1], "history": ["tent", None, "tent"]})
    scored = ranker.score_frame(requests)
    assert scored["score"].to_pylist()[0] == pytest.approx(ranker.score("tent", ["red tent", "dog leash"])[0])


def test_categories_are_texts(ranker):
    expected = ranker.score(HISTORY, COLUMNS["item_title"]).tolist()
    for table in (
        pd.DataFrame({"title": pd.Categorical(COLUMNS["item_title"])}),
        pl.DataFrame({"title": pl.Series(COLUMNS["item_title"], dtype=pl.Categorical)}),
    ):
        assert ranker.score(HISTORY, table).tolist() == expected


def test_two_columns_of_one_name_are_refused(ranker):
    for table in (
        pd.DataFrame([["red tent", "lamp"]], columns=["title", "title"]),
        pa.table([["red tent"], ["lamp"]], names=["title", "title"]),
    ):
        with pytest.raises(InvalidInput, match="2 columns 'title'"):
            ranker.rank(HISTORY, table)


def test_a_table_that_is_not_computed_yet_is_refused(ranker):
    with pytest.raises(InvalidInput, match="not LazyFrame"):
        ranker.rank(HISTORY, pl.LazyFrame({"title": ["red tent"]}))


def test_columns_of_a_frame_are_lists_of_titles(ranker):
    expected = ranker.score(HISTORY, COLUMNS["item_title"]).tolist()
    for kind in (pd.Series, pl.Series):
        assert ranker.score(HISTORY, kind(COLUMNS["item_title"])).tolist() == expected


def test_the_engine_imports_none_of_the_libraries(tiny_bundle):
    code = (
        "import sys, onyxrank\n"
        "with onyxrank.Ranker.load(sys.argv[1], threads=1) as ranker:\n"
        "    ranker.rank('tent', [{'title': 'lamp'}])\n"
        "assert not {'pandas', 'polars', 'pyarrow', 'rich', 'typer'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_bundle)], check=True, timeout=60)
