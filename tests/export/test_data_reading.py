import gzip
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onyxrank.request.items import Item
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.values import Interactions, SearchLabels

REAL = Path(os.environ.get("ONYXRANK_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))

ITEMS = pl.DataFrame(
    {
        "item_id": ["007", "b", "c"],
        "item_title": ["Red mug", 'Disc, 5"', "Café\nchair"],
        "item_description": ["Holds tea.", None, ""],
        "colour": ["red", None, "blue"],
    }
)
INTERACTIONS = pl.DataFrame(
    {
        "user_id": ["u2", "u1", "u2", "u1"],
        "item_id": ["b", "007", "007", "c"],
        "behavior": [1, 0, 1, 1],
        "timestamp": [30, 10, 20, 10],
    }
)


def write(frame, path):
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)


def write_folder(folder, suffix=".csv", **frames):
    folder.mkdir(exist_ok=True)
    for stem, frame in frames.items():
        write(frame, folder / f"{stem}{suffix}")
    return folder


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_folder_gives_rows_in_the_order_of_time(tmp_path, suffix):
    data = read_data(write_folder(tmp_path, suffix, interactions=INTERACTIONS, items=ITEMS))
    assert isinstance(data, Interactions)
    assert data.items == (
        Item("007", "Red mug", "Holds tea."),
        Item("b", 'Disc, 5"'),
        Item("c", "Café\nchair"),
    )
    assert data.users == ("u1", "u2")
    assert data.user.tolist() == [0, 0, 1, 1]
    assert data.item.tolist() == [0, 2, 0, 1]
    assert data.behavior.tolist() == [0, 1, 1, 1]
    assert data.timestamp.tolist() == [10, 10, 20, 30]
    types = [data.user.dtype, data.item.dtype, data.behavior.dtype, data.timestamp.dtype]
    assert types == [np.int32, np.int32, np.int8, np.int64]


def test_without_a_timestamp_the_file_gives_the_order(tmp_path):
    data = read_data(write_folder(tmp_path, interactions=INTERACTIONS.drop("timestamp"), items=ITEMS))
    assert data.timestamp is None
    assert [data.users[user] for user in data.user] == ["u2", "u1", "u2", "u1"]


def test_csv_and_parquet_have_one_fingerprint(tmp_path):
    csv = read_data(write_folder(tmp_path / "csv", ".csv", interactions=INTERACTIONS, items=ITEMS))
    parquet = read_data(write_folder(tmp_path / "pq", ".parquet", interactions=INTERACTIONS, items=ITEMS))
    assert csv.fingerprint == parquet.fingerprint
    assert len(csv.fingerprint) == 64


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("user_id", ["u2", "u1", "u2", "u3"]),
        ("item_id", ["b", "007", "007", "b"]),
        ("behavior", [1, 0, 1, 0]),
        ("timestamp", [30, 10, 20, 11]),
    ],
)
def test_other_content_has_another_fingerprint(tmp_path, column, values):
    changed = INTERACTIONS.with_columns(pl.Series(column, values))
    one = read_data(write_folder(tmp_path / "one", interactions=INTERACTIONS, items=ITEMS))
    other = read_data(write_folder(tmp_path / "other", interactions=changed, items=ITEMS))
    assert one.fingerprint != other.fingerprint


def test_ignored_columns_do_not_change_the_fingerprint(tmp_path):
    one = read_data(write_folder(tmp_path / "one", interactions=INTERACTIONS, items=ITEMS))
    other = read_data(write_folder(tmp_path / "other", interactions=INTERACTIONS, items=ITEMS.drop("colour")))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_file_takes_the_newest_texts_of_an_item(tmp_path, suffix):
    frame = pl.DataFrame(
        {
            "user_id": ["u", "v", "u"],
            "item_id": ["a", "a", "b"],
            "behavior": [1, 1, 0],
            "item_title": ["New", "Old", "Other"],
            "item_description": ["new", "old", None],
            "timestamp": [9, 1, 5],
        }
    )
    write(frame, tmp_path / f"log{suffix}")
    data = read_data(str(tmp_path / f"log{suffix}"))
    assert data.items == (Item("a", "New", "new"), Item("b", "Other", ""))
    assert data.item.tolist() == [0, 1, 0]
    assert data.users == ("v", "u")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_queries_give_search_labels(tmp_path, suffix):
    queries = pl.DataFrame({"query_id": [5, 3], "query": ["tea mug", "chair"]})
    labels = pl.DataFrame({"query_id": [3, 5, 5], "item_id": ["c", "007", "b"], "label": [3.0, 2.33, 1.0]})
    data = read_data(write_folder(tmp_path, suffix, queries=queries, items=ITEMS, labels=labels))
    assert isinstance(data, SearchLabels)
    assert data.queries == ("tea mug", "chair")
    assert data.query_ids == ("5", "3")
    assert data.query.tolist() == [1, 0, 0]
    assert data.item.tolist() == [2, 0, 1]
    assert data.label.dtype == np.float32
    assert data.label.tolist() == pytest.approx([3.0, 2.33, 1.0])


def test_search_labels_have_one_fingerprint(tmp_path):
    queries = pl.DataFrame({"query_id": [5, 3], "query": ["tea mug", "chair"]})
    labels = pl.DataFrame({"query_id": [3, 5], "item_id": ["c", "b"], "label": [3.0, 7 / 3]})
    frames = {"queries": queries, "items": ITEMS, "labels": labels}
    csv, parquet = (read_data(write_folder(tmp_path / s[1:], s, **frames)) for s in (".csv", ".parquet"))
    assert csv.fingerprint == parquet.fingerprint


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series([7, 8], dtype=pl.Int64),
        pl.Series([7, 8], dtype=pl.UInt16),
        pl.Series([7.0, 8.0]),
        pl.Series(["7", "8"]),
        pl.Series(["7.0", "8.0"]),
        pl.Series(["7", "8"], dtype=pl.Categorical),
        pl.Series(["7.0", "8.0"], dtype=pl.Categorical),
        pl.Series([7, 8], dtype=pl.Decimal(20, 0)),
    ],
    ids=["int64", "uint16", "float", "text", "float text", "categorical", "float categorical", "decimal"],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_whole_number_ids_become_their_digits(tmp_path, ids, suffix):
    items = pl.DataFrame({"item_id": ids, "item_title": ["x", "y"], "item_description": ["", ""]})
    rows = pl.DataFrame({"user_id": ids, "item_id": ids, "behavior": [1, 1]})
    data = read_data(write_folder(tmp_path, suffix, interactions=rows, items=items))
    assert data.users == ("7", "8")
    assert [item.id for item in data.items] == ["7", "8"]


def test_ids_that_only_look_like_decimals_stay(tmp_path):
    items = ITEMS.with_columns(item_id=pl.Series(["1.0", "1.1", "2.0"]))
    rows = INTERACTIONS.with_columns(item_id=pl.Series(["1.1", "1.0", "2.0", "1.0"]))
    data = read_data(write_folder(tmp_path, interactions=rows, items=items))
    assert [item.id for item in data.items] == ["1.0", "1.1", "2.0"]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1, 0, 0, 1], dtype=pl.Int8),
        pl.Series([1.0, 0.0, 0.0, 1.0]),
        pl.Series([True, False, False, True]),
        pl.Series(["1", "0", "0.0", "1.0"]),
        pl.Series(["True", "false", " 0", "1 "]),
        pl.Series(["1", "0", "0", "1"], dtype=pl.Categorical),
        pl.Series(["true", "false", "false", "true"], dtype=pl.Enum(["true", "false"])),
        pl.Series([1, 0, 0, 1], dtype=pl.Decimal(10, 2)),
    ],
    ids=["int", "float", "bool", "text", "words", "categorical", "enum", "decimal"],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_purchases_come_in_many_forms(tmp_path, values, suffix):
    rows = INTERACTIONS.drop("timestamp").with_columns(behavior=values)
    data = read_data(write_folder(tmp_path, suffix, interactions=rows, items=ITEMS))
    assert data.behavior.tolist() == [1, 0, 0, 1]


NOON = datetime(2024, 1, 2, 12)


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([1704196800 + i for i in range(4)]),
        pl.Series([1704196800.25 + i for i in range(4)]),
        pl.Series([NOON + timedelta(seconds=i) for i in range(4)]),
        pl.Series([NOON + timedelta(seconds=i) for i in range(4)], dtype=pl.Datetime("ms")),
        pl.Series([NOON.replace(tzinfo=timezone.utc) + timedelta(seconds=i) for i in range(4)]),
        pl.Series([f"2024-01-02T12:00:0{i}Z" for i in range(4)]),
        pl.Series([f"2024-01-02 14:00:0{i}.5+02:00" for i in range(4)]),
        pl.Series([f" {1704196800 + i}" for i in range(4)]),
        pl.Series([f"2024-01-02 12:00:0{i}.123456+00" for i in range(4)]),
        pl.Series([f"2024-01-02 17:30:0{i}+0530" for i in range(4)]),
        pl.Series([f"2024-01-02 12:00:0{i} UTC" for i in range(4)]),
        pl.Series([f"2024-01-02 12:00:0{i} UTC" for i in range(4)], dtype=pl.Categorical),
        pl.Series([1704196800 + i for i in range(4)], dtype=pl.Decimal(20, 3)),
    ],
    ids=[
        *("int", "float", "datetime", "datetime ms", "datetime utc", "iso", "iso zone", "text"),
        *("postgres", "short zone", "bigquery", "categorical", "decimal"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_times_come_in_many_forms(tmp_path, times, suffix):
    rows = INTERACTIONS.with_columns(timestamp=times)
    data = read_data(write_folder(tmp_path, suffix, interactions=rows, items=ITEMS))
    assert data.timestamp.tolist() == [1704196800 + i for i in range(4)]


@pytest.mark.parametrize("form", ["2024-01-02 12:0{}", "2024-01-02T12:0{}Z", "2024-01-02 14:0{}+02"])
def test_times_may_go_without_seconds(tmp_path, form):
    rows = INTERACTIONS.with_columns(timestamp=pl.Series([form.format(i) for i in range(4)]))
    data = read_data(write_folder(tmp_path, interactions=rows, items=ITEMS))
    assert data.timestamp.tolist() == [1704196800 + 60 * i for i in range(4)]


def test_days_are_times_at_midnight(tmp_path):
    rows = INTERACTIONS.with_columns(timestamp=pl.Series(["2024-01-02"] * 4).str.to_date())
    for suffix in (".csv", ".parquet"):
        data = read_data(write_folder(tmp_path / suffix[1:], suffix, interactions=rows, items=ITEMS))
        assert set(data.timestamp.tolist()) == {1704153600}


def test_fractions_of_a_second_order_rows(tmp_path):
    rows = INTERACTIONS.with_columns(timestamp=pl.Series([1.9, 1.2, -0.5, 1.5]))
    data = read_data(write_folder(tmp_path, interactions=rows, items=ITEMS))
    assert [data.users[user] for user in data.user] == ["u2", "u1", "u1", "u2"]
    assert data.timestamp.tolist() == [-1, 1, 1, 1]


@pytest.mark.parametrize(
    "descriptions",
    [pl.Series([None] * 3), pl.Series([float("nan")] * 3), pl.Series(["", None, ""])],
    ids=["null", "nan", "text"],
)
def test_descriptions_may_be_missing(tmp_path, descriptions):
    items = ITEMS.with_columns(item_description=descriptions)
    data = read_data(write_folder(tmp_path, ".parquet", interactions=INTERACTIONS, items=items))
    assert {item.description for item in data.items} == {""}


@pytest.mark.parametrize(
    "ending", ["\n\n\n", "\r\n", ""], ids=["blank lines at the end", "carriage return", "no line end"]
)
def test_csv_line_ends_do_not_matter(tmp_path, ending):
    write_folder(tmp_path, interactions=INTERACTIONS, items=ITEMS)
    before = read_data(tmp_path).fingerprint
    text = INTERACTIONS.write_csv().strip()
    lines = text.split("\n")
    newline = "\r\n" if "\r" in ending else "\n"
    (tmp_path / "interactions.csv").write_bytes(("\ufeff" + newline.join(lines) + ending).encode())
    assert read_data(tmp_path).fingerprint == before


def test_nul_inside_a_text_is_kept(tmp_path):
    items = ITEMS.with_columns(item_title=pl.Series(["a\0b", "y", "z"]))
    for suffix in (".csv", ".parquet"):
        folder = write_folder(tmp_path / suffix[1:], suffix, interactions=INTERACTIONS, items=items)
        assert read_data(folder).items[0].title == "a\0b"


def test_glob_characters_in_a_path_are_plain(tmp_path):
    folder = tmp_path / "data[1]*"
    assert read_data(write_folder(folder, interactions=INTERACTIONS, items=ITEMS)).users == ("u1", "u2")
    folder = write_folder(tmp_path / "x?[a]", ".parquet", interactions=INTERACTIONS, items=ITEMS)
    assert read_data(folder).users == ("u1", "u2")


@pytest.mark.parametrize(
    ("name", "users", "items", "rows"),
    [("amazon2018_office", 3231, 3317, 21290), ("online_retail_uci", 4334, 3659, 386326)],
)
def test_real_interactions(name, users, items, rows):
    if not (REAL / name).is_dir():
        pytest.skip(f"{name} is not on this machine")
    data = read_data(REAL / name)
    assert (len(data.users), len(data.items), len(data.item)) == (users, items, rows)
    assert np.all(np.diff(data.timestamp) >= 0)


def test_real_search_labels():
    if not (REAL / "homedepot_search_relevance").is_dir():
        pytest.skip("homedepot_search_relevance is not on this machine")
    data = read_data(REAL / "homedepot_search_relevance")
    assert (len(data.queries), len(data.items), len(data.label)) == (11793, 54667, 74067)
    assert 1.0 <= data.label.min() < data.label.max() <= 3.0


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("capitals", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_separators_capitals_and_compression(tmp_path, separator, capitals, compressed):
    for stem, frame in {"interactions": INTERACTIONS, "items": ITEMS}.items():
        named = frame.rename(str.upper) if capitals else frame
        text = named.write_csv(separator=separator).encode()
        path = tmp_path / (f"{stem}.csv.gz" if compressed else f"{stem}.csv")
        path.write_bytes(gzip.compress(text) if compressed else text)
    data = read_data(tmp_path)
    assert (
        data.fingerprint
        == read_data(write_folder(tmp_path / "plain", interactions=INTERACTIONS, items=ITEMS)).fingerprint
    )
