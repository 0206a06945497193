import polars as pl
import pytest

from onyxrank import errors
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.values import DataError, Fault

SECRET = "Brown bear lamp"

INTERACTIONS = "user_id,item_id,behavior,timestamp\nu1,a,1,10\nu1,b,0,20\n"
ITEMS = f"item_id,item_title,item_description\na,{SECRET},{SECRET} text\nb,Blue mug,\n"
QUERIES = f"query_id,query\n1,{SECRET}\n2,mug\n"
LABELS = "query_id,item_id,label\n1,a,3\n2,b,1.5\n"
ONE_FILE = f"user_id,item_id,behavior,item_title,item_description\nu1,a,1,{SECRET},{SECRET}\n"


def faults_of(path, **tables):
    for stem, text in tables.items():
        content = text if isinstance(text, bytes) else text.encode()
        (path / f"{stem}.csv").write_bytes(content)
    return raised(path)


def raised(path):
    with pytest.raises(DataError) as caught:
        read_data(path)
    assert SECRET not in str(caught.value)
    assert not any(SECRET in fault.message for fault in caught.value.faults)
    return caught.value.faults


def only(faults):
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize("value", ["2", "-1", "0.5", "nan", "NaN", "", "null", "purchase", "inf"])
def test_behavior_is_0_or_1(tmp_path, value):
    rows = INTERACTIONS + f"u2,a,{value},30\n"
    fault = only(faults_of(tmp_path, interactions=rows, items=ITEMS))
    assert (fault.file, fault.row, fault.column) == ("interactions.csv", 3, "behavior")
    assert "write 1 (bought) or 0 (not)" in fault.message


@pytest.mark.parametrize("values", [[1.0, None], [1.0, float("nan")], [0, 3]], ids=["null", "nan", "3"])
def test_behavior_is_0_or_1_in_parquet(tmp_path, values):
    pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"], "behavior": values}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    fault = only(faults_of(tmp_path, items=ITEMS))
    assert (fault.file, fault.row, fault.column) == ("interactions.parquet", 2, "behavior")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "is missing"),
        ("nan", "is nan"),
        ("inf", "is inf"),
        ("yesterday", "is not a number"),
        ("2024-13-01", "is 2024-13-01"),
        ("1600000000000", "give seconds, not milliseconds"),
        ("-1600000000000", "give seconds, not milliseconds"),
        ("99999999999999999999999", "give seconds, not milliseconds"),
    ],
)
def test_times_are_seconds(tmp_path, value, message):
    rows = INTERACTIONS + f"u2,a,1,{value}\n"
    fault = only(faults_of(tmp_path, interactions=rows, items=ITEMS))
    assert (fault.row, fault.column) == (3, "timestamp")
    assert message in fault.message


@pytest.mark.parametrize(
    "times",
    [pl.Series([1, None]), pl.Series([1.0, float("nan")]), pl.Series([1, 1600000000000])],
    ids=["null", "nan", "milliseconds"],
)
def test_times_are_seconds_in_parquet(tmp_path, times):
    pl.DataFrame({"user_id": ["u"] * 2, "item_id": ["a"] * 2, "behavior": [1] * 2, "timestamp": times}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    fault = only(faults_of(tmp_path, items=ITEMS))
    assert (fault.row, fault.column) == (2, "timestamp")


@pytest.mark.parametrize(
    ("values", "rows", "looks"),
    [
        (["2019", "2019-03-04 10:00:00"], [1], "a number among dates"),
        (["2019-03-04", "1551693600"], [2], "a number among dates"),
        (["2019", "2020"], [1, 2], "a year"),
        (["43528.417", "43529.5"], [1, 2], "a day as Excel counts them"),
    ],
    ids=["year among dates", "seconds among dates", "years", "excel"],
)
def test_numbers_that_may_be_no_seconds_are_named(tmp_path, values, rows, looks):
    text = "user_id,item_id,behavior,timestamp\n" + "".join(f"u,a,1,{value}\n" for value in values)
    faults = faults_of(tmp_path, interactions=text, items=ITEMS)
    assert [(fault.row, fault.column) for fault in faults] == [(row, "timestamp") for row in rows]
    assert all(looks in fault.message for fault in faults)


def test_years_are_named_in_parquet_too(tmp_path):
    pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "behavior": [1], "timestamp": [2019]}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    assert "is 2019, a year" in only(faults_of(tmp_path, items=ITEMS)).message


@pytest.mark.parametrize("value", ["4.00639E+12", "4,00639E+12", "-1e+15"])
def test_ids_that_a_spreadsheet_has_cut_are_named(tmp_path, value):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS + f'"{value}",a,1,30\n', items=ITEMS))
    assert (fault.file, fault.row, fault.column) == ("interactions.csv", 3, "user_id")
    assert "a number that a spreadsheet has cut" in fault.message


@pytest.mark.parametrize("value", ["", "nan", "inf", "-inf", "1e300", "good"])
def test_labels_are_finite(tmp_path, value):
    labels = LABELS + f"1,b,{value}\n"
    fault = only(faults_of(tmp_path, queries=QUERIES, items=ITEMS, labels=labels))
    assert (fault.file, fault.row, fault.column) == ("labels.csv", 3, "label")
    assert "finite" in fault.message


@pytest.mark.parametrize("title", ["", '""', "   ", "\t", "\x1f", "\u2003", "\u200b\ufffd"], ids=repr)
def test_titles_hold_text(tmp_path, title):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS, items=ITEMS + f"c,{title},words\n"))
    assert (fault.file, fault.row, fault.column) == ("items.csv", 3, "item_title")
    assert "is empty" in fault.message


def test_queries_hold_text(tmp_path):
    fault = only(faults_of(tmp_path, queries=QUERIES + "3,\n", items=ITEMS, labels=LABELS))
    assert (fault.file, fault.row, fault.column) == ("queries.csv", 3, "query")


@pytest.mark.parametrize(("column", "row"), [("user_id", ",a,1,1"), ("item_id", "u1,,1,1"), ("user_id", "  ,a,1,1")])
def test_ids_are_not_missing(tmp_path, column, row):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS + row + "\n", items=ITEMS))
    assert (fault.row, fault.column, fault.message) == (3, column, "is missing")


@pytest.mark.parametrize(
    ("ids", "row", "message"),
    [
        (pl.Series([1.0, 1.5]), 2, "an id must be text or a whole number"),
        (pl.Series([1.0, 2.0**60]), 2, "an id must be text or a whole number"),
        (pl.Series([1.0, float("nan")]), 2, "is missing"),
        (pl.Series([1, None]), 2, "is missing"),
        (pl.Series([b"a", b"b"]), None, "must be text or whole numbers, not Binary"),
    ],
    ids=["fraction", "too large", "nan", "null", "binary"],
)
def test_ids_are_text_or_whole_numbers(tmp_path, ids, row, message):
    pl.DataFrame({"user_id": ids, "item_id": ["a", "b"], "behavior": [1, 0]}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    fault = only(faults_of(tmp_path, items=ITEMS))
    assert (fault.row, fault.column, fault.message) == (row, "user_id", message)


@pytest.mark.parametrize("column", ["item_title", "item_description"])
def test_texts_are_text(tmp_path, column):
    texts = {"item_title": pl.Series(["x", "y"]), "item_description": pl.Series(["x", "y"])}
    texts[column] = pl.Series([1, 2])
    pl.DataFrame({"item_id": ["a", "b"], **texts}).write_parquet(tmp_path / "items.parquet")
    fault = only([f for f in faults_of(tmp_path, interactions=INTERACTIONS) if f.row is None])
    assert (fault.file, fault.column, fault.message) == ("items.parquet", column, "must be text, not Int64")


def test_unknown_items_are_named(tmp_path):
    faults = faults_of(tmp_path, interactions=INTERACTIONS + "u2,zebra,1,30\nu3,yak,1,30\n", items=ITEMS)
    assert [(f.row, f.column) for f in faults] == [(3, "item_id"), (4, "item_id")]
    assert faults[0].message == "'zebra' is not in items.csv"


def test_unknown_items_and_queries_of_labels(tmp_path):
    faults = faults_of(tmp_path, queries=QUERIES, items=ITEMS, labels=LABELS + "9,zebra,1\n")
    assert [(f.file, f.row, f.column) for f in faults] == [
        ("labels.csv", 3, "query_id"),
        ("labels.csv", 3, "item_id"),
    ]


@pytest.mark.parametrize(
    ("row", "kind"),
    [(f"a,{SECRET},{SECRET} text", "the same text"), ("a,Other,", "another text")],
    ids=["same", "other"],
)
def test_items_come_once(tmp_path, row, kind):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS, items=ITEMS + row + "\n"))
    assert (fault.file, fault.row, fault.column) == ("items.csv", 3, "item_id")
    assert f"duplicate of row 1, with {kind}" in fault.message


def test_queries_come_once(tmp_path):
    fault = only(faults_of(tmp_path, queries=QUERIES + "1,other\n", items=ITEMS, labels=LABELS))
    assert (fault.file, fault.row, fault.column) == ("queries.csv", 3, "query_id")


@pytest.mark.parametrize("column", ["user_id", "item_id", "behavior", "item_title", "item_description"])
def test_missing_columns_are_named(tmp_path, column):
    path = tmp_path / "log.csv"
    path.write_text(ONE_FILE.replace(column, "x", 1))
    fault = only(raised(path))
    assert (fault.file, fault.row, fault.column) == ("log.csv", None, column)
    assert "no such column" in fault.message


def test_a_missing_column_with_a_near_name_is_asked_after(tmp_path):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS.replace("user_id", "user", 1), items=ITEMS))
    assert fault.message == (
        "no such column; did you mean the column 'user'; the file must have user_id, item_id, behavior"
    )


def test_a_column_named_twice(tmp_path):
    rows = INTERACTIONS.replace("timestamp", "behavior", 1)
    fault = only(faults_of(tmp_path, interactions=rows, items=ITEMS))
    assert (fault.column, fault.message) == ("behavior", "the header names this column more than once")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (INTERACTIONS.split("\n")[0].encode(), "has no rows"),
        (INTERACTIONS.split("\n")[0].encode() + b"\n\n\n", "has no rows"),
        (INTERACTIONS.encode() + b"u\xff,a,1,30\n", "is not UTF-8 (byte 0xff in line 4)"),
        (INTERACTIONS.encode() + b"u\xed\xa0\x80,a,1,30\n", "is not UTF-8 (byte 0xed in line 4)"),
        (b"caf\xe9," + INTERACTIONS.encode(), "is not UTF-8 (byte 0xe9 in line 1)"),
        (INTERACTIONS.encode("utf-16"), "is not UTF-8 (byte 0xff in line 1)"),
    ],
    ids=["empty", "blank", "header", "header and blanks", "latin", "surrogate", "latin header", "utf-16"],
)
def test_unreadable_csv(tmp_path, content, message):
    fault = only(faults_of(tmp_path, interactions=content, items=ITEMS))
    assert fault.file == "interactions.csv"
    assert fault.row is None
    assert message in fault.message


@pytest.mark.parametrize(
    ("rows", "row", "message"),
    [
        ("c,long,text, with a comma\n", 3, "has 4 fields where the header has 3"),
        ('c,"open,words\nd,x,y\n', 3, "quotes do not match"),
        ('c,"5" disc",words\n', 3, "quotes do not match"),
    ],
    ids=["comma", "open quote", "inner quote"],
)
def test_malformed_csv_rows_are_named(tmp_path, rows, row, message):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS, items=ITEMS + rows))
    assert (fault.file, fault.row) == ("items.csv", row)
    assert message in fault.message


def test_all_rows_with_too_many_fields_are_named(tmp_path):
    found = faults_of(
        tmp_path, interactions=INTERACTIONS, items=ITEMS + "c,x,y,z\nd,x,y\ne,1,2,3,4\n" + 'f,"5" x,y\n'
    )
    assert [(fault.row, fault.message.split(";")[0]) for fault in found] == [
        (3, "has 4 fields where the header has 3"),
        (5, "has 5 fields where the header has 3"),
        (6, "the quotes do not match"),
    ]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"a,b\n1,2\n"])
def test_unreadable_parquet(tmp_path, content):
    (tmp_path / "interactions.parquet").write_bytes(content)
    fault = only(faults_of(tmp_path, items=ITEMS))
    assert (fault.file, fault.row, fault.column) == ("interactions.parquet", None, None)
    assert ("is empty" if not content else "cannot be read as parquet") in fault.message


def test_parquet_cut_short(tmp_path):
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ["a"], "item_title": ["x"], "item_description": ["y"]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-9])
    assert only(faults_of(tmp_path, interactions=INTERACTIONS)).file == "items.parquet"


def test_parquet_without_rows(tmp_path):
    schema = {"user_id": pl.String, "item_id": pl.String, "behavior": pl.Int8}
    pl.DataFrame(schema=schema).write_parquet(tmp_path / "interactions.parquet")
    assert only(faults_of(tmp_path, items=ITEMS)).message == "has no rows"


def test_csv_and_parquet_side_by_side(tmp_path):
    (tmp_path / "items.parquet").write_bytes(b"")
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS, items=ITEMS))
    assert fault.message == "both items.csv and items.parquet are there; keep one of them"


@pytest.mark.parametrize(
    ("tables", "tried"),
    [
        ({"interactions": INTERACTIONS}, "items.csv or items.csv.gz or items.parquet"),
        ({"queries": QUERIES, "items": ITEMS}, "labels.csv or labels.csv.gz or labels.parquet"),
        ({"labels": LABELS, "items": ITEMS}, "queries.csv or queries.csv.gz or queries.parquet"),
    ],
    ids=["items", "labels", "queries"],
)
def test_a_missing_table_names_what_was_tried(tmp_path, tables, tried):
    fault = only(faults_of(tmp_path, **tables))
    assert tried in fault.message


def test_a_folder_without_data(tmp_path):
    fault = only(raised(tmp_path))
    assert all(word in fault.message for word in ("interactions", "queries", ".csv", ".parquet"))


def test_a_folder_with_both_kinds(tmp_path):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS, items=ITEMS, queries=QUERIES, labels=LABELS))
    assert "interactions.csv and queries.csv" in fault.message


def test_a_missing_path(tmp_path):
    fault = only(raised(tmp_path / "nowhere"))
    assert fault.message == "no such file or folder"
    assert fault.file.endswith("nowhere")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "log.xlsx").write_bytes(b"x")
    assert ".csv, .csv.gz, .parquet" in only(raised(tmp_path / "log.xlsx")).message


def test_all_faults_of_all_files_come_at_once(tmp_path):
    faults = faults_of(
        tmp_path,
        interactions=INTERACTIONS + ",zebra,7,soon\n",
        items=ITEMS + "c,,words\na,Again,\n",
    )
    assert [(f.file, f.row, f.column) for f in faults] == [
        ("interactions.csv", 3, "user_id"),
        ("interactions.csv", 3, "behavior"),
        ("interactions.csv", 3, "timestamp"),
        ("items.csv", 3, "item_title"),
        ("items.csv", 4, "item_id"),
        ("interactions.csv", 3, "item_id"),
    ]


def test_a_column_wrong_throughout_is_counted(tmp_path):
    rows = "user_id,item_id,behavior\n" + "u,a,5\n" * 2500
    faults = faults_of(tmp_path, interactions=rows, items=ITEMS)
    assert len(faults) == 1001
    assert faults[-1].row is None
    assert faults[-1].message == "1500 more rows have such faults"


def test_text_in_the_wrong_column_is_not_repeated(tmp_path):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS + f"u2,a,{SECRET},30\n", items=ITEMS))
    assert fault.message == "is not a number; write 1 (bought) or 0 (not)"


def test_the_message_has_a_line_for_each_fault_up_to_twenty():
    error = DataError(Fault("items.csv", row, "item_title", "is empty") for row in range(1, 31))
    lines = str(error).split("\n")
    assert lines[0] == "items.csv, row 1, column item_title: is empty"
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more"
    assert len(error.faults) == 30
    assert isinstance(error, errors.OnyxrankError)


def test_an_empty_catalogue_is_one_fault(tmp_path):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS, items=ITEMS.split("\n")[0]))
    assert (fault.file, fault.message) == ("items.csv", "has no rows")


def test_a_file_without_a_header_is_named_without_its_text(tmp_path):
    fault = only(faults_of(tmp_path, interactions=INTERACTIONS, items=f"a,{SECRET},{SECRET}\nb,mug,\n"))
    assert (fault.file, fault.row) == ("items.csv", None)
    assert "the first row names no column of this table" in fault.message


def test_parts_of_a_table_are_to_be_joined(tmp_path):
    for number in range(3):
        (tmp_path / f"part-0000{number}.csv").write_text(ONE_FILE)
    assert "has 3 csv or parquet files of other names" in only(raised(tmp_path)).message
    (tmp_path / "interactions.csv").write_text(INTERACTIONS)
    (tmp_path / "items.parquet").mkdir()
    assert "items.parquet is a folder; join its parts" in only(raised(tmp_path)).message


def test_what_is_not_compressed_is_named(tmp_path):
    (tmp_path / "log.csv.gz").write_text(ONE_FILE)
    assert "cannot be read as gzip" in only(raised(tmp_path / "log.csv.gz")).message
