from __future__ import annotations

import csv
import gzip
import json

import polars as pl
import pytest

from onyxrank import InvalidInput, Item, MissingExtra
from onyxrank.request import items_file
from onyxrank.request.items_file import read_items

ITEMS = (Item("1", "red tent", "two persons"), Item("2", 'café; "lamp", 5\'', ""), Item("3", "hose\nlong", ""))
FRAME = pl.DataFrame(
    {
        "item_id": [item.id for item in ITEMS],
        "item_title": [item.title for item in ITEMS],
        "item_description": [item.description or None for item in ITEMS],
        "price": [1.5, None, 3.0],
    }
)


def write(path):
    if path.suffix.lower() == ".jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in FRAME.iter_rows(named=True)) + "\n")
    elif path.suffix.lower() == ".csv":
        FRAME.write_csv(path)
    else:
        FRAME.write_parquet(path)
    return path


@pytest.mark.parametrize("name", ["items.jsonl", "items.csv", "items.parquet", "ITEMS.CSV"])
def test_items_are_read_in_their_order(tmp_path, name):
    assert read_items(write(tmp_path / name)) == ITEMS


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path, suffix):
    path = write(tmp_path / f"items{suffix}")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_items(path) == ITEMS


def test_a_title_of_a_megabyte_is_read(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,item_title\n1," + "tent " * 200_000 + "\n")
    assert len(read_items(path)[0].title) == 1_000_000


def test_short_names_and_whole_number_ids_will_do(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"id": 7, "title": "tent"}\n{"title": "lamp"}\n')
    assert read_items(path) == (Item("7", "tent"), Item("1", "lamp"))


def test_the_full_names_count_where_both_are_there(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("id,item_id,item_title,title\n1,SKU9,steel tent pegs,Mr\n")
    assert read_items(path) == (Item("SKU9", "steel tent pegs"),)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", [("item_id", "item_title"), ("ID", "Title"), ("ITEM_ID", '"ITEM_TITLE"')])
def test_separators_and_capitals_are_read(tmp_path, separator, header):
    path = tmp_path / "items.csv"
    path.write_text(f"{separator.join(header)}\r\na{separator}tent\r\n")
    assert read_items(path) == (Item("a", "tent"),)


def test_a_compressed_csv_is_read(tmp_path):
    path = tmp_path / "items.csv.gz"
    path.write_bytes(gzip.compress(b"item_id,item_title\na,tent\n"))
    assert read_items(path) == (Item("a", "tent"),)


@pytest.mark.parametrize(
    ("ids", "read"),
    [(["12.0", "7.0"], ("12", "7")), (["12.0", "7.1"], ("12.0", "7.1")), ([12.0, 7.0], ("12", "7"))],
    ids=["text", "mixed", "float"],
)
def test_ids_are_those_of_training(tmp_path, ids, read):
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ids, "item_title": ["tent", "lamp"]}).write_parquet(path)
    assert tuple(item.id for item in read_items(path)) == read


def test_the_limit_of_csv_stays_what_the_process_has_set(tmp_path):
    before = csv.field_size_limit()
    read_items(write(tmp_path / "items.csv"))
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "message", "index"),
    [
        ("items.txt", b"tent", "items are read from .jsonl, .csv, .csv.gz, .parquet files", None),
        ("items", b"tent", "items are read from", None),
        ("items.jsonl", b"", "holds no items", None),
        ("items.jsonl", b"\n \n", "holds no items", None),
        ("items.csv", b"", "holds no items", None),
        ("items.csv", b"item_id,item_title\n", "holds no items", None),
        ("items.jsonl", b'{"title": "tent"}\n{"title": ', "line 2 is not JSON", 1),
        ("items.jsonl", b'["tent"]', "line 1 is not a JSON object", 0),
        ("items.jsonl", b"[" * 100_000, "line 1 is not JSON", 0),
        ("items.jsonl", b'{"title": "tent"}\n{"id": "b"}', "row 2: items[1] has no title", 1),
        ("items.csv", b"item_id,item_title\na,tent\nb,\n", "row 2: items[1].title is empty", 1),
        ("items.csv", b"item_id,name\na,tent\n", "row 1: items[0] has no title", 0),
        ("items.csv", b'item_id,item_title\na,"tent" x\n', "not a csv file", None),
        ("items.csv", b"item_id,item_title\na,tent\nb,lamp,12 W\n", "row 2 has more fields than the header", 1),
        ("items.jsonl", b'{"title": "caf\xe9"}', "not UTF-8 text at byte 14", None),
        ("items.jsonl", b'{"title": "tent"}\n' * 1000 + b"\xe9", "not UTF-8 text at byte 18000", None),
        ("items.csv", b"7,steel tent\n8,lamp\n", "the first row names no column of items", None),
        ("items.csv.gz", b"item_id,item_title\n", "cannot be read (it is damaged)", None),
        ("items.csv", b"item_id,item_title\na,tent\n4.00639E+12,lamp\n", "row 2: the id is a number that a", 1),
        ("items.parquet", b"PAR1 not really", "not a readable parquet file", None),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message, index):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_items(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert message in str(caught.value)
    assert caught.value.index == index


def test_no_such_file(tmp_path):
    with pytest.raises(InvalidInput, match="no such file"):
        read_items(tmp_path / "items.csv")


def test_parquet_without_polars_names_the_extra(tmp_path, monkeypatch):
    def load(module, *, extra, purpose):
        raise MissingExtra(extra, purpose, module)

    path = write(tmp_path / "items.parquet")
    monkeypatch.setattr(items_file.extras, "load", load)
    with pytest.raises(MissingExtra, match=r"reading parquet needs the extra 'cli' \(polars is not installed\)"):
        read_items(path)


@pytest.mark.parametrize("name", ["x" * 5000 + ".csv", "a\0b.csv"], ids=["long", "zero byte"])
def test_a_path_that_the_system_does_not_take(tmp_path, name):
    with pytest.raises(InvalidInput, match=r"no such file \(.+\)"):
        read_items(tmp_path / name)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "items.csv").write_text("title\ntent\n")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InvalidInput, match=r"cannot be read \(Permission denied\)"):
        read_items(tmp_path / "items.csv")
