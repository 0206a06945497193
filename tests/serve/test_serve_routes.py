from __future__ import annotations

import numpy as np
import pytest

from onyxrank import Item, Ranker
from onyxrank.architectures.readout import Readout

HISTORY = ["tent pegs", "camping stove"]
TITLES = ["camping bag", "desk lamp", "wool yarn", "dog leash", "office chair"]
ITEMS = [{"id": f"i{number}", "title": title, "description": "red"} for number, title in enumerate(TITLES)]


@pytest.fixture(scope="module")
def ranker(trained_bundle):
    with Ranker.load(trained_bundle, threads=1) as loaded:
        yield loaded


def post(client, path, **body):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_rank_answers_as_the_ranker_does(client, ranker):
    expected = ranker.rank(HISTORY, [Item(**item) for item in ITEMS], top_k=3)
    answer = post(client, "/v1/rank", history=HISTORY, items=ITEMS, top_k=3, deadline_ms=10_000)
    assert [(row["rank"], row["index"], row["id"]) for row in answer["results"]] == [
        (hit.rank, hit.index, hit.id) for hit in expected
    ]
    np.testing.assert_allclose(
        [row["score"] for row in answer["results"]], [hit.score for hit in expected], atol=1e-6
    )
    assert (answer["model"], answer["total"], answer["tokens"]) == ("shop", len(ITEMS), expected.tokens)
    assert answer["cold_start"] is False
    assert set(answer["timings_ms"]) == {"tokenize", "queue", "history", "batch", "run", "rank"}


def test_rank_takes_a_query_titles_and_no_history(client, ranker):
    answer = post(client, "/v1/rank", query="tent", items=TITLES)
    scores = ranker.score("tent", TITLES)
    assert {row["id"]: row["index"] for row in answer["results"]} == {str(index): index for index in range(5)}
    np.testing.assert_allclose([row["score"] for row in answer["results"]], np.sort(scores)[::-1], atol=1e-6)
    assert post(client, "/v1/rank", history=[], items=TITLES)["cold_start"] is True
    assert post(client, "/v1/rank", history="", items=[])["results"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rank", {"history": HISTORY, "items": [*ITEMS, "🏕️ tent"], "top_k": 3}),
        ("/rerank", {"query": "tent", "texts": TITLES, "return_text": True}),
        ("/jina/v1/rerank", {"model": "m", "query": "tent", "documents": [*TITLES, {"text": "tent", "more": "red"}]}),
    ],
)
def test_a_body_read_in_one_pass_is_answered_as_by_fastapi_itself(client, path, body):
    straight = client.post(path, json=body)
    thorough = client.post(path, json=body, headers={"content-type": "application/json; charset=utf-8"})
    assert straight.status_code == thorough.status_code == 200
    answers = [response.json() for response in (straight, thorough)]
    for answer in answers:
        if isinstance(answer, dict):
            answer.pop("timings_ms", None)
    assert answers[0] == answers[1]


def test_rank_takes_items_named_as_in_the_data(client):
    named = [{f"item_{name}": value for name, value in item.items()} for item in ITEMS]
    assert (
        post(client, "/v1/rank", history=HISTORY, items=named)["results"]
        == post(client, "/v1/rank", history=HISTORY, items=ITEMS)["results"]
    )


def test_what_was_cut_is_counted(client):
    item = {"title": "tent " * 30, "description": "red " * 30}
    answer = post(client, "/v1/rank", history=["tent"] * 50, items=[item, item])
    assert answer["truncated"] == {"history_events": 50 - 6, "titles": 2, "descriptions": 2}


def test_a_large_list_is_split_not_refused(client, ranker):
    titles = [f"{TITLES[number % 5]} {number}" for number in range(1500)]
    answer = post(client, "/v1/rank", history=HISTORY, items=titles)
    scores = ranker.score(HISTORY, titles)
    assert [row["index"] for row in answer["results"]] == np.argsort(-scores, kind="stable").tolist()


WRONG = [
    ({"items": ["a"]}, 422, "body", "give a history or a query"),
    ({"query": "a", "history": [], "items": ["a"]}, 422, "body", "give a history or a query"),
    ({"query": "a"}, 422, "items", "Field required"),
    ({"query": "a", "items": "tent"}, 422, "items", "valid list"),
    ({"query": 3, "items": []}, 422, "query", "valid string"),
    ({"query": "a", "items": [3]}, 422, "items[0]", "valid dictionary"),
    ({"query": "a", "items": ["b", {"id": "x"}]}, 422, "items[1].title", "Field required"),
    ({"query": "a", "items": ["b", {"title": "x", "price": 3}]}, 422, "items[1].price", "not permitted"),
    ({"query": "a", "items": [{"title": "x", "item_title": "y"}]}, 422, "items[0].item_title", "not permitted"),
    ({"query": "a", "items": ["b", "\u0000"]}, 422, "items[1].title", "only characters the tokenizer drops"),
    ({"query": "a", "items": [" "]}, 422, "items[0].title", "is empty"),
    ({"history": ["a", ""], "items": ["b"]}, 422, "history[1]", "is empty"),
    ({"history": {"a": 1}, "items": ["b"]}, 422, "history", "valid string"),
    ({"query": "a", "items": ["b"], "top_k": 0}, 422, "top_k", "greater than or equal to 1"),
    ({"query": "a", "items": ["b"], "top_k": True}, 422, "top_k", "valid integer"),
    ({"query": "a", "items": ["b"], "deadline_ms": -1}, 422, "deadline_ms", "greater than 0"),
    ({"query": "a", "items": ["b"], "more": 1}, 422, "more", "not permitted"),
    ({"query": "x" * 100_001, "items": ["b"]}, 422, "query", "longer than the 100000"),
    ({"query": "x", "items": ["b", "x" * 100_001]}, 422, "items[1].title", "longer than the 100000"),
    ({"query": "x", "items": [{"title": "b", "description": "y" * 100_001}]}, 422, "items[0].description", "long"),
    ({"query": "x", "items": ["b"] * 10_001}, 422, "items", "10000"),
    ([], 422, "body", "valid dictionary"),
    ("text", 422, "body", "valid dictionary"),
    (None, 422, "content-type", "application/json"),
]


@pytest.mark.parametrize(("body", "status", "field", "says"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_wrong_names_the_field_and_quotes_nothing(client, body, status, field, says):
    response = client.post("/v1/rank", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["field"]) == (status, field)
    assert says in error["message"]
    assert "xxxx" not in response.text
    assert "yyyy" not in response.text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"query": "a", "items": [', "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"query": "\xff\xfe"}', "nested too deeply"),
        (b'{"query": "a", "items": ["b"], "deadline_ms": NaN}', "number"),
        (b"", "required"),
    ],
    ids=["malformed", "deep", "not utf-8", "nan", "empty"],
)
def test_what_is_no_json_is_refused(client, content, says):
    response = client.post("/v1/rank", content=content, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    assert says in response.json()["error"]["message"]


def test_a_body_of_no_declared_type_is_told_so(client):
    response = client.post("/v1/rank", content=b'{"query": "a", "items": ["b"]}')
    assert (response.status_code, response.json()["error"]["field"]) == (422, "content-type")


def test_lone_surrogates_and_emoji(client):
    text = b'{"query": "\\ud800", "items": ["b"]}'
    response = client.post("/v1/rank", content=text, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert len(post(client, "/v1/rank", query="🏕️", items=["🏕️ tent", "é", "a\u0000b"])["results"]) == 3


def test_text_embeddings_inference(client, ranker):
    scores = ranker.score("tent", TITLES)
    order = np.argsort(-scores, kind="stable").tolist()
    response = client.post("/rerank", json={"query": "tent", "texts": TITLES})
    ranks = response.json()
    assert [rank["index"] for rank in ranks] == order
    np.testing.assert_allclose([rank["score"] for rank in ranks], scores[order], atol=1e-6)
    assert set(ranks[0]) == {"index", "score"}
    assert {"x-total-time", "x-queue-time", "x-inference-time"} <= set(response.headers)
    raw = post(client, "/rerank", query="tent", texts=TITLES, raw_scores=True, return_text=True, truncate=True)
    readout = Readout(**{name: value for name, value in ranker.info()["readout"].items() if name != "kind"})
    margins = np.array([rank["score"] for rank in raw], np.float32)
    np.testing.assert_allclose(readout.probabilities(margins), scores[order], atol=1e-6)
    assert [rank["text"] for rank in raw] == [TITLES[index] for index in order]
    info = client.get("/info").json()
    assert (info["model_id"], list(info["model_type"])) == ("shop", ["reranker"])
    assert info["max_input_length"] == 12 + 6 + 3
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error_type", "says"),
    [
        ({"query": "a", "texts": []}, 400, "Empty", "`texts` cannot be empty"),
        ({"query": "", "texts": ["b", ""]}, 413, "Validation", "texts[1] are both empty"),
        ({"query": "a", "texts": "b"}, 422, "Validation", "texts: "),
        ({"query": "a", "texts": ["b"] * 10_001}, 413, "Validation", "texts: 10001"),
        ({"query": "x" * 100_001, "texts": ["b"]}, 413, "Validation", "query"),
    ],
    ids=["empty", "blank", "no list", "many", "long"],
)
def test_text_embeddings_inference_errors(client, body, status, error_type, says):
    response = client.post("/rerank", json=body)
    assert (response.status_code, response.json()["error_type"]) == (status, error_type)
    assert says in response.json()["error"]
    assert client.post("/invocations", json=body).json() == response.json()


@pytest.mark.parametrize("version", ["1", "2"])
def test_cohere(client, ranker, version):
    scores = ranker.score("tent", TITLES)
    answer = post(client, f"/v{version}/rerank", model="shop", query="tent", documents=TITLES, top_n=2)
    best = np.argsort(-scores, kind="stable")[:2]
    assert [row["index"] for row in answer["results"]] == best.tolist()
    np.testing.assert_allclose([row["relevance_score"] for row in answer["results"]], scores[best], atol=1e-6)
    assert answer["meta"]["api_version"] == {"version": version}
    assert "document" not in answer["results"][0]


def test_cohere_documents_with_fields(client, ranker):
    documents = [{"title": "desk lamp", "text": "light", "price": "3"}, {"title": "tent", "text": "green"}]
    answer = post(
        client, "/v1/rerank", query="tent", documents=documents, rank_fields=["title", "text"], return_documents=True
    )
    scores = ranker.score("tent", [Item("0", "desk lamp", "light"), Item("1", "tent", "green")])
    assert {row["index"]: pytest.approx(row["relevance_score"], abs=1e-6) for row in answer["results"]} == {
        0: float(scores[0]),
        1: float(scores[1]),
    }
    assert all(row["document"] == documents[row["index"]] for row in answer["results"])
    response = client.post("/v1/rerank", json={"query": "a", "documents": [{"text": "b"}], "rank_fields": ["title"]})
    assert (response.status_code, response.json()["message"]) == (
        422,
        "documents[0] has no field of rank_fields",
    )
    response = client.post("/v2/rerank", json={"query": "a", "documents": ["b", {"text": 3}]})
    assert (response.status_code, response.json()["message"]) == (422, "documents[1]: fields must be strings")
    last = client.post("/v2/rerank", json={"query": "a", "documents": [{}, "b"]}).json()["results"][1]
    assert (last["index"], last["relevance_score"]) == (0, 0.0)


@pytest.mark.parametrize(("path", "model"), [("/v1/rerank", "jina-reranker-v2"), ("/jina/v1/rerank", "shop")])
def test_jina(client, ranker, path, model):
    answer = post(client, path, model=model, query="tent", documents=[*TITLES, {"text": "tent"}], top_n=3)
    scores = ranker.score("tent", [*TITLES, "tent"])
    best = np.argsort(-scores, kind="stable")[:3]
    assert [row["index"] for row in answer["results"]] == best.tolist()
    assert [row["document"]["text"] for row in answer["results"]] == [[*TITLES, "tent"][index] for index in best]
    assert (answer["model"], answer["object"]) == (model, "list")
    assert answer["usage"]["total_tokens"] > 6
    short = post(client, path, model=model, query="tent", documents=TITLES, return_documents=False)
    assert set(short["results"][0]) == {"index", "relevance_score"}


def tensor(name, *data, **changed):
    return {"name": name, "shape": [len(data)], "datatype": "BYTES", "data": list(data)} | changed


def test_open_inference_protocol(client, ranker):
    assert client.get("/v2").json()["name"] == "onyxrank"
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/shop/ready", "/v2/models/shop/versions/1/ready"):
        assert client.get(path).status_code == 200
    assert client.get("/v2/models/shop").json()["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1]}]
    inputs = [tensor("history", *HISTORY), tensor("title", *TITLES), tensor("description", *["red"] * 5)]
    answer = post(client, "/v2/models/shop/infer", id="7", inputs=inputs, outputs=[{"name": "score"}])
    expected = ranker.score(HISTORY, [Item(**item) for item in ITEMS])
    [output] = answer["outputs"]
    assert (answer["id"], answer["model_name"], output["shape"]) == ("7", "shop", [5])
    np.testing.assert_allclose(output["data"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([tensor("history", "a")], "must have title"),
        ([tensor("title", "a"), tensor("title", "b")], "once each"),
        ([tensor("price", "a")], "once each"),
        ([tensor("title", "a", shape=[2])], "shape must be [1]"),
        ([tensor("title", "a"), tensor("description")], "as many"),
        ([tensor("title", "a", datatype="FP32")], "BYTES"),
    ],
    ids=["no title", "twice", "unknown", "shape", "lengths", "type"],
)
def test_open_inference_protocol_errors(client, inputs, says):
    response = client.post("/v2/models/shop/infer", json={"inputs": inputs})
    assert response.status_code == 422
    assert says in response.json()["error"]
    assert client.get("/v2/models/other").status_code == 404
    assert client.get("/v2/models/shop/versions/2").status_code == 404
    wrong = client.post("/v2/models/shop/infer", json={"inputs": [], "outputs": [{"name": "label"}]})
    assert wrong.status_code == 422


def test_unknown_paths_and_methods(client):
    assert client.get("/nothing").json()["error"]["type"] == "not_found"
    assert client.put("/v1/rank").status_code == 405
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").json()["info"]["title"] == "onyxrank"
