from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import InvalidInput, Item
from onyxrank.bundle.opening import open_bundle
from onyxrank.measure.requests import Request
from onyxrank.tune.sample import read_requests, sample_of, spread, write_requests

SECRET = "zebrafish umbrella"


def test_requests_read_back_as_they_were(tmp_path):
    requests = (
        Request(("tent", "Zelt für zwei ⛺"), (Item("a", "stove", "gas"), Item("b", "lamp"))),
        Request((), (Item("c", "pegs"),)),
    )
    write_requests(requests, tmp_path / "requests.jsonl")
    assert read_requests(tmp_path / "requests.jsonl") == requests


def test_items_and_histories_may_be_all_that_rank_takes(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text('\ufeff{"history": "tent", "items": ["stove", {"item_id": 7, "item_title": "lamp"}]}\n\n')
    [request] = read_requests(path)
    assert request == Request(("tent",), (Item("0", "stove"), Item("7", "lamp")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (SECRET, "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[1]", "line 2 is not an object with history and items"),
        ('{"history": []}', "line 2 is not an object with history and items"),
        (json.dumps({"history": SECRET, "items": []}), "line 2 has no items"),
        (json.dumps({"history": [SECRET, 3], "items": ["a"]}), r"line 2: history\[1\] must be a string"),
        (json.dumps({"history": SECRET, "items": [{"id": 1}]}), r"line 2: items\[0\] has no title"),
    ],
)
def test_bad_requests_name_the_line_and_no_text(tmp_path, line, message):
    path = tmp_path / "requests.jsonl"
    path.write_text('{"history": [], "items": ["a"]}\n' + line + "\n")
    with pytest.raises(InvalidInput, match=message) as caught:
        read_requests(path)
    assert "zebrafish" not in str(caught.value)


def test_files_that_hold_nothing(tmp_path):
    with pytest.raises(InvalidInput, match="no such file"):
        read_requests(tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InvalidInput, match="holds no requests"):
        read_requests(tmp_path / "empty.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xe4")
    with pytest.raises(InvalidInput, match="not UTF-8 text at byte 0"):
        read_requests(tmp_path / "latin.jsonl")


def test_a_bundle_without_a_sample_gets_made_up_requests(tiny_bundle):
    requests, source = sample_of(open_bundle(tiny_bundle), None)
    assert [len(request.items) for request in requests] == [100, 10]
    assert "words of the vocabulary" in source


def request_of(items):
    return Request((), tuple(Item(str(number), "tent") for number in range(items)))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30), st.integers(1, 20))
def test_spread_takes_every_size_in_turn(sizes, most):
    taken = spread([request_of(size) for size in sizes], most)
    found = [len(request.items) for request in taken]
    assert len(found) == min(len(sizes), most)
    assert found == sorted(found)
    left = sorted(sizes)
    for size in found:
        left.remove(size)  # each is there as often as in the sample at most


def test_a_sample_of_pages_and_widgets_by_turns_gives_both():
    taken = spread([request_of(items) for _ in range(8) for items in (100, 10)], 4)
    assert [len(request.items) for request in taken] == [10, 10, 100, 100]
