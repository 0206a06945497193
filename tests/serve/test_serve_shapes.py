"""What clients of other servers expect beside the answers themselves: methods, paths, statuses, and names."""

from __future__ import annotations

import httpx
import pytest
from serving import API_KEY, PATIENCE, serving

from onyxrank import InvalidInput, NonFiniteScore, OnyxrankError, Ranker
from onyxrank.serve.settings import ServeSettings

TITLES = ["camping bag", "desk lamp", "wool yarn"]
ORIGIN = "https://shop.example"


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/health/live", "/health/ready", "/ping", "/info", "/metrics", "/v1/models", "/openapi.json"),
        *("/v2", "/v2/models/shop", "/v2/health/live", "/v2/models/shop/ready", "/page/facts", "/"),
    ],
)
def test_what_answers_get_answers_head(client, path):
    asked, headed = client.get(path), client.head(path)
    assert (asked.status_code, headed.status_code, headed.content) == (200, 200, b"")
    assert headed.headers.get("content-type") == asked.headers.get("content-type")


@pytest.mark.parametrize("path", ["/v1/rank/", "/rerank/", "/v2/rerank/", "/health/", "/v2/"])
def test_a_trailing_slash_leads_nowhere(client, path):
    response = client.post(path, json={"query": "a", "texts": ["b"]}, follow_redirects=False)
    assert response.status_code == 404
    assert "location" not in response.headers


def test_ping_needs_no_key(trained_bundle, keys):
    with serving(bundle=str(trained_bundle), **keys) as url:
        assert httpx.get(f"{url}/ping", timeout=PATIENCE).status_code == 200
        assert httpx.get(f"{url}/v1/models", timeout=PATIENCE).status_code == 401


def test_the_list_of_models(client):
    page = client.get("/v1/models").json()
    assert (page["object"], [model["id"] for model in page["data"]]) == ("list", ["shop"])
    assert page["data"][0]["object"] == "model"


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/jina/v1/rerank"])
def test_documents_and_tokens_where_clients_of_vllm_and_ragflow_read_them(client, path):
    body = {"model": "m", "query": "tent", "documents": TITLES, "top_n": 2, "return_documents": True}
    answer = client.post(path, json=body).json()
    with_string = client.post(path, json=body | {"return_documents": "true"}).json()
    assert [row["document"] for row in answer["results"]] == [row["document"] for row in with_string["results"]]
    assert answer["results"][0]["document"] == {"text": TITLES[answer["results"][0]["index"]]}
    assert [set(row) for row in answer["results"]] == [{"index", "relevance_score", "document"}] * 2
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] > 6


def test_texts_and_documents_are_asked_for_one_at_a_time(client):
    for body in ({"query": "a"}, {"query": "a", "texts": ["b"], "documents": ["b"]}):
        response = client.post("/rerank", json=body)
        assert (response.status_code, response.json()["error"]) == (422, "body: give texts or documents")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidInput("query is odd", field="history"), 413, "Validation"),
        (NonFiniteScore("NaN for items[0]", index=0), 424, "Backend"),
        (OnyxrankError("closed"), 424, "Backend"),
        (RuntimeError("a fault"), 500, "Backend"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_statuses_of_text_embeddings_inference(client, monkeypatch, error, status, kind):
    async def fail(*_, **__):
        raise error

    monkeypatch.setattr(Ranker, "arank", fail)
    response = client.post("/rerank", json={"query": "a", "texts": ["b"]})
    assert (response.status_code, response.json()["error_type"]) == (status, kind)
    if isinstance(error, NonFiniteScore):
        assert "texts[0]" in response.json()["error"]


def test_a_body_of_another_shape_is_422_there_too(client):
    response = client.post("/rerank", json={"query": 3, "texts": ["b"]})
    assert (response.status_code, response.json()["error_type"]) == (422, "Validation")


@pytest.mark.parametrize(
    ("provider", "name"), [("cpu", "cpu"), ("cuda", "gpu"), ("tensorrt", "gpu"), ("openvino", "cpu")]
)
def test_the_type_of_device_is_the_providers(trained_bundle, monkeypatch, provider, name):
    info = Ranker.info
    monkeypatch.setattr(Ranker, "info", lambda self: info(self) | {"provider": provider})
    with serving(bundle=str(trained_bundle)) as url:
        response = httpx.post(f"{url}/rerank", json={"query": "a", "texts": ["b"]}, timeout=PATIENCE)
    assert response.headers["x-compute-type"] == f"{name}+optimized"


def test_raw_scores_are_margins_which_differ_where_probabilities_do_not(client, monkeypatch):
    rank = Ranker.arank

    async def certain(self, *arguments, **options):
        ranking = await rank(self, *arguments, **options)
        for place, hit in enumerate(ranking):
            object.__setattr__(hit, "score", 1.0)
            object.__setattr__(hit, "margin", 40.0 - place)
        return ranking

    monkeypatch.setattr(Ranker, "arank", certain)
    rows = client.post("/rerank", json={"query": "a", "texts": TITLES, "raw_scores": True}).json()
    assert [row["score"] for row in rows] == [40, 39, 38]


def preflight(url, path="/v1/rank", origin=ORIGIN):
    asking = {"origin": origin, "access-control-request-method": "POST"}
    asking["access-control-request-headers"] = "authorization,content-type"
    return httpx.options(f"{url}{path}", headers=asking, timeout=PATIENCE)


def test_pages_of_a_named_origin_may_ask(trained_bundle, keys):
    with serving(bundle=str(trained_bundle), cors_origins=(ORIGIN,), **keys) as url:
        allowed = preflight(url)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        assert preflight(url, origin="https://other.example").status_code == 400
        headers = {"origin": ORIGIN, "authorization": f"Bearer {API_KEY}"}
        body = {"query": "a", "items": ["b"]}
        answer = httpx.post(f"{url}/v1/rank", json=body, headers=headers, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "retry-after" in answer.headers["access-control-expose-headers"]
        unknown = httpx.post(f"{url}/v1/rank", json=body, headers={"origin": ORIGIN}, timeout=PATIENCE)
        assert (unknown.status_code, unknown.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_pages_of_other_origins_may_not_ask_unless_they_are_named(client):
    url = str(client.base_url).rstrip("/")
    assert preflight(url).status_code == 405
    answer = client.post("/v1/rank", json={"query": "a", "items": ["b"]}, headers={"origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://", "https://a b", ""])
def test_an_origin_is_a_scheme_and_a_host(trained_bundle, origin):
    with pytest.raises(InvalidInput, match="cors_origin must be like"):
        ServeSettings(bundle=str(trained_bundle), cors_origins=(origin,))


def test_origins_reach_the_workers(trained_bundle):
    told = ServeSettings(bundle=str(trained_bundle), cors_origins=(ORIGIN, "*"))
    assert ServeSettings.parse(told.to_json()) == told


@pytest.mark.parametrize("value", [b"1e999", b"NaN", b"-Infinity", b'"\\ud800"'])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/jina/v1/rerank"])
@pytest.mark.parametrize("back", [b"true", b"false"])
def test_a_document_that_json_cannot_carry_back_is_named(client, path, value, back):
    document = b'{"text": "tent", "price": ' + value + b"}"
    content = b'{"query": "a", "documents": ["b", ' + document + b'], "return_documents": ' + back + b"}"
    response = client.post(path, content=content, headers={"content-type": "application/json"})
    assert response.status_code in (413, 422), response.text
    assert "documents[1]" in response.text


@pytest.mark.parametrize("depth", [200, 900, 1500, 100_000])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/jina/v1/rerank", "/v1/rank"])
def test_values_nested_deeply_are_answered_or_refused(client, path, depth):
    document = b'{"text": "tent", "more": ' + b"[" * depth + b"]" * depth + b"}"
    content = b'{"query": "a", "documents": [' + document + b'], "return_documents": true}'
    response = client.post(path, content=content, headers={"content-type": "application/json"})
    assert response.status_code < 500, response.text


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/jina/v1/rerank"])
def test_a_model_that_no_answer_could_carry(client, path):
    content = b'{"model": "\\ud800", "query": "a", "documents": ["b"]}'
    response = client.post(path, content=content, headers={"content-type": "application/json"})
    assert (response.status_code, "model: has a lone surrogate" in response.text) == (422, True)
