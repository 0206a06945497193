"""Bodies with more elements than anybody should look at: they are counted first, and looked at up to a fault."""

from __future__ import annotations

import json
import threading

import pytest
from fastapi.exceptions import RequestValidationError

from onyxrank import InvalidInput
from onyxrank.serve import cohere, native, page, route, tei
from onyxrank.serve.tensors import InferRequest

LISTS = [
    (native.RankRequest, "query", "items"),
    (tei.RerankRequest, "query", "texts"),
    (tei.RerankRequest, "query", "documents"),
    (cohere.RerankRequest, "query", "documents"),
    (page.PageRequest, "query", "titles"),
]


def body(**fields):
    return json.dumps(fields).encode()


@pytest.mark.parametrize(("model", "query", "field"), LISTS)
@pytest.mark.parametrize("element", [0, "lamp", {"title": 3}])
def test_elements_are_counted_before_they_are_looked_at(model, query, field, element):
    with pytest.raises(InvalidInput, match=f"^{field}: 1001 are more than the 1000 allowed$") as caught:
        route.read_body(model, body(**{query: "a", field: [element] * 1001}), 1000)
    assert caught.value.field == field


@pytest.mark.parametrize(("model", "query", "field"), LISTS)
def test_the_first_faulty_element_is_the_last_that_is_looked_at(model, query, field):
    with pytest.raises(RequestValidationError) as caught:
        route.read_body(model, body(**{query: "a", field: [0] * 1000}), 1000)
    assert len(caught.value.errors()) <= 2  # of one element, which may be of two types
    assert all(fault["loc"][:3] == ("body", field, 0) for fault in caught.value.errors())


@pytest.mark.parametrize("model", [native.RankRequest, page.PageRequest])
def test_events_are_counted_too(model):
    with pytest.raises(InvalidInput, match=r"^history: 100001 are more than the 100000 allowed$"):
        route.read_body(model, body(history=["a"] * 100_001, items=[]), 1000)


def test_tensors_are_looked_at_up_to_the_first_fault():
    faulty = json.dumps({"inputs": [0] * 1000})
    with pytest.raises(ValueError, match="1 validation error"):
        InferRequest.model_validate_json(faulty)


def test_a_large_body_is_not_read_on_the_event_loop(client, monkeypatch):
    threads = []
    read = route.read_body

    def watched(*arguments):
        threads.append(threading.current_thread().name)
        return read(*arguments)

    monkeypatch.setattr(route, "read_body", watched)
    for count in (1, 5000):
        assert client.post("/rerank", json={"query": "tent", "texts": ["lamp"] * count}).status_code == 200
    assert threads[0] != threads[1]
