"""Texts without content on the routes of other rerankers, and the names that errors use there."""

from __future__ import annotations

import pytest

from onyxrank import Ranker

TEXTS = ["desk lamp", "", "camping bag", " ", "\u0000"]
READABLE = [0, 2]


@pytest.fixture(scope="module")
def expected(trained_bundle):
    """Index and score of each text, best first; those without content last."""
    with Ranker.load(trained_bundle, threads=1) as ranker:
        ranking = ranker.rank("tent", [TEXTS[index] for index in READABLE])
    return [(READABLE[hit.index], pytest.approx(hit.score, abs=1e-6)) for hit in ranking] + [
        (1, 0.0),
        (3, 0.0),
        (4, 0.0),
    ]


def tensors(titles):
    return {
        "inputs": [
            {"name": "history", "shape": [1], "datatype": "BYTES", "data": ["tent"]},
            {"name": "title", "shape": [len(titles)], "datatype": "BYTES", "data": titles},
        ]
    }


ROUTES = {
    "/rerank": {"query": "tent", "texts": TEXTS},
    "/v1/rerank": {"query": "tent", "documents": TEXTS},
    "/v2/rerank": {"query": "tent", "documents": TEXTS},
    "/jina/v1/rerank": {"query": "tent", "documents": TEXTS},
}


@pytest.mark.parametrize("path", ROUTES)
def test_texts_without_content_come_last(client, expected, path):
    response = client.post(path, json=ROUTES[path])
    assert response.status_code == 200, response.text
    rows = response.json() if path == "/rerank" else response.json()["results"]
    score = "score" if path == "/rerank" else "relevance_score"
    assert [(row["index"], row[score]) for row in rows] == expected


def test_tensors_without_content_score_nothing(client, expected):
    response = client.post("/v2/models/shop/infer", json=tensors(TEXTS))
    assert response.status_code == 200, response.text
    assert list(enumerate(response.json()["outputs"][0]["data"])) == sorted(expected, key=lambda row: row[0])


def test_raw_scores_without_content_are_numbers_below_all_others(client):
    rows = client.post("/rerank", json=ROUTES["/rerank"] | {"raw_scores": True, "return_text": True}).json()
    assert rows[1]["score"] > rows[2]["score"] == rows[4]["score"]
    assert [row["text"] for row in rows] == [TEXTS[row["index"]] for row in rows]


def test_a_list_without_any_content(client):
    blank = ["", " "]
    assert [row["score"] for row in client.post("/rerank", json={"query": "a", "texts": blank}).json()] == [0, 0]
    both = client.post("/rerank", json={"query": "", "texts": ["a", ""]})
    assert (both.status_code, both.json()["error_type"]) == (413, "Validation")
    assert "texts[1]" in both.json()["error"]
    for path in ("/v1/rerank", "/v2/rerank"):
        refused = client.post(path, json={"query": "a", "documents": [*blank, {"text": ""}]})
        assert (refused.status_code, "every one of them is blank" in refused.json()["message"]) == (422, True)
    jina = client.post("/jina/v1/rerank", json={"query": "a", "documents": blank})
    assert [row["relevance_score"] for row in jina.json()["results"]] == [0, 0]
    assert client.post("/v2/models/shop/infer", json=tensors(blank)).json()["outputs"][0]["data"] == [0, 0]


LONG = "x" * 100_001


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/rerank", {"query": "a", "texts": ["b", LONG]}, "texts[1] is longer"),
        ("/rerank", {"query": LONG, "texts": ["b"]}, "query is longer"),
        ("/rerank", {"query": "a", "documents": ["b", LONG]}, "documents[1] is longer"),
        ("/v2/rerank", {"query": "a", "documents": ["b", {"title": "a", "text": LONG}]}, "documents[1] is longer"),
        ("/v1/rerank", {"query": "a", "documents": ["b"] * 10_001}, "documents: 10001"),
        ("/jina/v1/rerank", {"query": LONG, "documents": ["b"]}, "query is longer"),
        ("/v2/models/shop/infer", tensors(["a", LONG]), "title[1] is longer"),
        ("/v2/models/shop/infer", tensors(["a"] * 10_001), "title: 10001"),
        ("/v1/rank", {"query": LONG, "items": ["b"]}, "query is longer"),
        ("/v1/rank", {"history": LONG, "items": ["b"]}, "history is longer"),
        ("/v1/rank", {"history": ["a", LONG], "items": ["b"]}, "history[1] is longer"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_errors_use_the_clients_own_names(client, path, body, says):
    response = client.post(path, json=body)
    assert response.status_code in (413, 422)
    assert says in response.text
    assert "items" not in response.text
