"""A whole table of requests: the same scores and places as request by request, and errors at their row."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from onyxrank import InvalidInput, Limits, MissingExtra, NonFiniteScore, OnyxrankError, Ranker
from onyxrank.architectures.readout import Readout
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.score_table import score_frame

TITLES = ["red tent", "desk lamp", "dog leash", "steel pegs", "wool yarn", "cat toy", "garden hose"]
HISTORIES = {"x": ["steel tent", "camping stove"], "y": [], "z": ["coffee grinder"], "w": ["dog leash", "cat toy"]}
KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table, "batch": pa.RecordBatch.from_pydict}


def requests_table(n_rows=37):
    """Rows of four requests, scattered."""
    keys = [list(HISTORIES)[row * row % 7 % 4] for row in range(n_rows)]
    return {
        "request_id": keys,
        "history": [HISTORIES[key] or None for key in keys],
        "title": [TITLES[row * 5 % 7] for row in range(n_rows)],
        "description": [None if row % 3 else "light and small" for row in range(n_rows)],
    }


def expected(ranker, columns):
    """One `rank` for each request."""
    scores, ranks = [None] * len(columns["title"]), [None] * len(columns["title"])
    for key in set(columns["request_id"]):
        rows = [row for row, other in enumerate(columns["request_id"]) if other == key]
        items = [{"title": columns["title"][row], "description": columns["description"][row] or ""} for row in rows]
        for hit in ranker.rank(columns["history"][rows[0]] or [], items):
            scores[rows[hit.index]], ranks[rows[hit.index]] = hit.score, hit.rank
    return scores, ranks


@pytest.fixture
def ranker(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=1) as ranker:
        yield ranker


@pytest.fixture(params=KINDS)
def make(request):
    return KINDS[request.param]


@pytest.mark.parametrize("chunk_rows", [1, 10, 1024])
def test_every_row_gets_the_score_and_place_of_its_request(ranker, make, chunk_rows):
    columns = requests_table()
    table = make(columns)
    scored = ranker.score_frame(table, chunk_rows=chunk_rows)
    assert type(scored) is type(table)
    assert len(pa.table(table).column_names) == 4, "the caller's table is not changed"
    out = pa.table(scored)
    assert out.column_names == [*columns, "score", "rank"]
    assert (out.schema.field("score").type, out.schema.field("rank").type) == (pa.float32(), pa.int64())
    assert out["title"].to_pylist() == columns["title"]
    scores, ranks = expected(ranker, columns)
    np.testing.assert_allclose(out["score"].to_pylist(), scores, atol=1e-6)
    assert out["rank"].to_pylist() == ranks


@pytest.fixture
def scored_by(make_tokenizer):
    """Score a table by a callable of the engine's kind."""
    names = {"request": "request_id", "history": "history", "score": "score", "rank": "rank"}
    encoder = TextEncoder(make_tokenizer(), Limits())
    probabilities = Readout().probabilities
    return lambda table, scoring, **options: score_frame(
        pl.DataFrame(table), encoder, scoring, probabilities, **names, **options
    )


def test_a_chunk_holds_no_more_than_asked_and_no_request_in_parts(scored_by):
    seen = []

    def scoring(requests):
        seen.append([len(request.items) for request in requests])
        return [np.zeros(count, np.float32) for count in seen[-1]]

    keys = [1] * 3 + [2] * 2 + [3] * 9 + [4] * 1 + [5] * 4
    scored_by({"request_id": keys, "history": "tent", "title": "lamp"}, scoring, chunk_rows=5)
    assert seen == [[3, 2], [9], [1, 4]]


def test_shared_history_scores_a_table_too(shared_bundle):
    columns = requests_table()
    with Ranker.load(shared_bundle, threads=1) as ranker:
        out = ranker.score_frame(pl.DataFrame(columns), progress=False)
        scores, ranks = expected(ranker, columns)
    np.testing.assert_allclose(out["score"].to_list(), scores, atol=1e-6)
    assert out["rank"].to_list() == ranks


def test_pandas_keeps_its_index_and_arrow_its_chunks(ranker):
    table = pd.DataFrame(requests_table(5), index=list("abcde"))
    assert list(ranker.score_frame(table).index) == list("abcde")
    chunked = pa.concat_tables([pa.table(requests_table(5))] * 3)
    assert ranker.score_frame(chunked, chunk_rows=4).num_rows == 15


def test_columns_may_have_other_names(ranker):
    columns = requests_table(9)
    plain = ranker.score_frame(pl.DataFrame(columns))
    names = {"request_id": "user", "history": "seen", "title": "item_title", "description": "item_description"}
    other = pl.DataFrame(columns).rename(names).with_columns(score=pl.lit(1))
    scored = ranker.score_frame(other, request="user", history="seen", score="probability", rank="place")
    assert scored["probability"].to_list() == plain["score"].to_list()
    assert scored["place"].to_list() == plain["rank"].to_list()


@pytest.mark.parametrize("history", ["steel tent", ["steel tent"], np.array(["steel tent"], object), ("steel tent",)])
def test_a_history_is_a_text_or_texts(ranker, history):
    table = pd.DataFrame({"request_id": [3, 3], "history": [history] * 2, "title": ["red tent", "lamp"]})
    assert ranker.score_frame(table)["score"].tolist() == ranker.score(["steel tent"], ["red tent", "lamp"]).tolist()


def test_no_rows_gain_the_columns(ranker, make):
    out = pa.table(ranker.score_frame(make({"request_id": [], "history": [], "title": []})))
    assert (out.num_rows, out.column_names[-2:]) == (0, ["score", "rank"])


def changed(**columns):
    return {"request_id": ["x", "y", "x"], "history": ["tent", None, "tent"], "title": TITLES[:3], **columns}


@pytest.mark.parametrize(
    ("columns", "row", "column"),
    [
        (changed(title=["red tent", "lamp", None]), 2, "title"),
        (changed(title=["red tent", "lamp", "\x01"]), 2, "title"),
        (changed(description=[1, 2, 3]), 0, "description"),
        (changed(request_id=["x", None, "x"]), 1, "request_id"),
        (changed(request_id=[["x"], ["y"], ["x"]]), 0, "request_id"),
        (changed(history=["tent", None, "lamp"]), 2, "history"),
        (changed(history=[["tent"], ["lamp", " "], ["tent"]]), 1, "history"),
        (changed(history=[1, 2, 1]), 0, "history"),
    ],
    ids=["null", "control", "numbers", "no key", "list key", "two histories", "blank event", "number history"],
)
def test_what_cannot_be_scored_is_named_by_row_and_column(ranker, make, columns, row, column):
    with pytest.raises(InvalidInput) as caught:
        ranker.score_frame(make(columns))
    assert (caught.value.index, caught.value.field) == (row, column)
    assert str(caught.value).startswith(f"row {row}, column '{column}'")
    assert "tent" not in str(caught.value)


@pytest.mark.parametrize(
    "nested",
    [
        lambda: np.array([["tent"], ["stove"]], object),
        lambda: [np.array(["tent", "stove"], object)],
        lambda: ("tent", ("camping", "stove")),
    ],
    ids=["matrix", "list of arrays", "tuple in a tuple"],
)
def test_a_nested_history_is_named_by_row_and_column(ranker, nested):
    with pytest.raises(InvalidInput, match=r"^row 0, column 'history'") as caught:
        ranker.score_frame(pd.DataFrame(changed(history=[nested(), None, nested()])))
    assert (caught.value.index, caught.value.field) == (0, "history")


@pytest.mark.parametrize(
    ("table", "options", "field"),
    [
        ([{"title": "red tent"}], {}, "frame"),
        (changed(), {"request": "user"}, "user"),
        (changed(), {"history": "seen"}, "seen"),
        ({"request_id": ["x"], "history": ["tent"]}, {}, "title"),
        (changed(score=[1, 2, 3]), {}, "score"),
        (changed(), {"rank": "score"}, "score"),
        (changed(), {"chunk_rows": 0}, "chunk_rows"),
        (changed(), {"score": 5}, "score"),
    ],
)
def test_wrong_tables_and_options_are_named(ranker, table, options, field):
    with pytest.raises(InvalidInput) as caught:
        ranker.score_frame(pl.DataFrame(table) if isinstance(table, dict) else table, **options)
    assert caught.value.field == field


def test_a_score_that_is_not_finite_is_named_by_row(scored_by):
    def scoring(requests):
        if any(len(request.items) == 2 for request in requests):
            raise NonFiniteScore("items[1]", index=1)
        return [np.zeros(len(request.items), np.float32) for request in requests]

    table = {"request_id": [1, 2, 1, 3], "history": ["tent", "hose", "tent", "cat"], "title": TITLES[:4]}
    with pytest.raises(NonFiniteScore, match="row 2") as caught:
        scored_by(table, scoring)
    assert caught.value.index == 2


def test_a_closed_ranker_scores_no_table(tiny_bundle):
    ranker = Ranker.load(tiny_bundle, threads=1)
    ranker.close()
    with pytest.raises(OnyxrankError, match="closed"):
        ranker.score_frame(pl.DataFrame(changed()))


PROGRAM = """
import sys, onyxrank, polars
table = polars.DataFrame({"request_id": [1, 2, 1], "history": ["tent"] * 3, "title": ["lamp", "hose", "toy"]})
with onyxrank.Ranker.load(sys.argv[1], threads=1) as ranker:
    ranker.score_frame(table, progress=sys.argv[2] == "True")
assert ("rich" in sys.modules) == (sys.argv[2] == "True"), "imported"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_on_a_terminal_if_wanted(tiny_bundle, progress):
    import pty

    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-c", PROGRAM, str(tiny_bundle), str(progress)]
        environment = {**os.environ, "TERM": "xterm"}
        done = subprocess.run(command, stderr=theirs, stdout=subprocess.PIPE, env=environment, timeout=60)
        os.write(theirs, b"end")
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (0, b""), shown
    assert ("3/3" in shown) is progress
    assert progress or shown == "end"


def test_no_bar_is_shown_where_no_terminal_is(ranker, capfd):
    ranker.score_frame(pl.DataFrame(changed()))
    assert capfd.readouterr() == ("", "")


def test_a_bar_needs_rich_and_says_so_before_any_work(ranker, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(MissingExtra, match="progress=False"):
        ranker.score_frame(pl.DataFrame(changed()), progress=True)
    assert ranker.score_frame(pl.DataFrame(changed())).height == 3
    assert ranker.score_frame(pl.DataFrame(changed()), progress=False).height == 3


def test_one_history_may_be_written_in_several_ways(ranker):
    table = pd.DataFrame({"request_id": [1, 1, 2, 2], "history": ["tent", ["tent"], None, ""], "title": TITLES[:4]})
    assert ranker.score_frame(table)["rank"].tolist() in ([1, 2, 1, 2], [1, 2, 2, 1], [2, 1, 1, 2], [2, 1, 2, 1])
