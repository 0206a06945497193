from __future__ import annotations

from onyxrank import Item
from onyxrank.tune.sample import SAMPLE_FILE, read_requests
from onyxrank_export.conversion.sample import sample_requests
from onyxrank_export.data.reading import read_data

ITEMS = [Item(str(number), f"title{number} of the catalogue", "text") for number in range(40)]


def test_requests_are_as_long_as_real_ones_and_of_no_shopper():
    histories = [("quokka",), ("zebrafish umbrella", "violet quokka lamp chair")]
    requests = sample_requests(histories, ITEMS, count=30)
    texts = " ".join(event for request in requests for event in request.history)
    assert not any(word in texts for history in histories for event in history for word in event.split())
    assert {tuple(len(event.split()) for event in request.history) for request in requests} == {(1,), (2, 4)}
    assert [len(request.items) for request in requests[:4]] == [40, 10, 40, 10]
    assert all(len(set(request.items)) == len(request.items) for request in requests)
    assert sample_requests(histories, ITEMS, count=30) == requests
    assert sample_requests(histories, ITEMS, count=30, seed=1) != requests


def test_without_histories_the_requests_are_cold_starts():
    assert [request.history for request in sample_requests([], ITEMS, count=2)] == [(), ()]


def test_a_bundle_carries_catalogue_texts_only(trained_bundle, aisle_data):
    titles = {item.title for item in read_data(aisle_data).items}
    requests = read_requests(trained_bundle / SAMPLE_FILE)
    assert len(requests) == 16
    assert {item.title for request in requests for item in request.items} <= titles
    assert any(request.history for request in requests)
    for request in requests:
        assert all(any(title.startswith(event) for title in titles) for event in request.history)
