"""The page's files and what its script asks; the page itself in a browser is in test_page_browser."""

from __future__ import annotations

import json
import re

import httpx
import numpy as np
import pytest
from serving import API_KEY, PATIENCE, serving

from aisles import items_table
from onyxrank import InvalidInput, Item, Ranker
from onyxrank.serve.assets import ASSETS
from onyxrank.serve.catalogue import Catalogue
from onyxrank.serve.page import MOST_CANDIDATES

TITLES = items_table()["item_title"].to_list()


@pytest.fixture(scope="module")
def shop(trained_bundle, aisle_data):
    """A client of a server with a catalogue of 96 items."""
    with (
        serving(bundle=str(trained_bundle), items_file=str(aisle_data / "items.parquet"), max_items=80) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as asking,
    ):
        yield asking


def post(client, path, **body):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_page_and_its_files_come_with_headers_that_bind_the_browser(client):
    kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for path in ASSETS:
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(kinds["html" if path == "/" else path.rpartition(".")[2]])
        assert "default-src 'self'" in response.headers["content-security-policy"]
        assert "unsafe" not in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        again = client.get(path, headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get("/page/nothing.js").json()["error"]["type"] == "not_found"
    assert client.get("/page/..%2fpage.py").status_code == 404


def test_the_page_needs_nothing_from_elsewhere():
    for path, asset in ASSETS.items():
        text = asset.content.decode()
        addresses = set(re.findall(r"[a-z]+://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, path
        assert "innerHTML" not in text
        assert "Storage" not in text
    page = ASSETS["/"].content.decode()
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page)
    for used in re.findall(r'(?:src|href)="(page/[^"]+)"', page):
        assert f"/{used}" in ASSETS
    scripts = "".join(asset.content.decode() for path, asset in ASSETS.items() if path.endswith(".js"))
    for used in re.findall(r'from "\./([^"]+)"', scripts):
        assert f"/page/{used}" in ASSETS


def test_facts(client, shop):
    told = shop.get("/page/facts")
    assert told.headers["cache-control"] == "no-store"
    facts = told.json()
    assert (facts["model"], facts["catalogue"], facts["most_candidates"]) == ("shop", len(TITLES), 80)
    assert [example["title"] for example in facts["examples"]] == TITLES[::24]
    assert client.get("/page/facts").json() | {"catalogue": 0, "examples": []} == client.get("/page/facts").json()


def test_items_are_found_by_their_words_in_pages(client, shop):
    having = [index for index, title in enumerate(TITLES) if "red" in title and "camping" in title]
    found = post(shop, "/page/catalogue", search=" CAMPING red ", limit=4)
    assert (found["total"], [item["key"] for item in found["items"]]) == (len(having), having[:4])
    rest = post(shop, "/page/catalogue", search="camping red", offset=4)
    assert [(item["key"], item["title"]) for item in rest["items"]] == [(key, TITLES[key]) for key in having[4:]]
    assert post(shop, "/page/catalogue")["total"] == len(TITLES)
    assert post(shop, "/page/catalogue", search="zebra") == {"total": 0, "items": []}
    assert post(client, "/page/catalogue", search="red") == {"total": 0, "items": []}
    assert shop.post("/page/catalogue", json={"limit": 1000}).status_code == 422


def test_the_catalogue_is_ranked_for_a_history_and_a_query(shop, trained_bundle):
    rows = items_table().rows()
    with Ranker.load(trained_bundle, threads=1) as ranker:
        for told, asked in (({"history": [0, "green desk"]}, [TITLES[0], "green desk"]), ({"query": "tent"}, "tent")):
            answer = post(shop, "/page/rank", within="camping", **told)
            keys = [row["key"] for row in answer["results"]]
            assert sorted(keys) == [index for index, title in enumerate(TITLES) if "camping" in title]
            scores = ranker.score(asked, [Item(*rows[key]) for key in keys])
            np.testing.assert_allclose([row["score"] for row in answer["results"]], scores, atol=1e-6)
            assert [row["title"] for row in answer["results"]] == [TITLES[key] for key in keys]
            assert answer["picked"] == {"from": "catalogue", "matching": 24, "related": 0}
            assert answer["engine_ms"] == pytest.approx(sum(answer["stages_ms"].values()), abs=0.01)


def test_what_is_left_out_is_told(shop):
    some = post(shop, "/page/rank", query="green tent", most=20)
    assert len(some["results"]) == 20
    assert some["picked"] == {"from": "catalogue", "matching": 96, "related": 4}  # half of a colour's would be common
    assert {f"{colour} camping tent" for colour in ("red", "blue", "green", "grey")} <= {
        row["title"] for row in some["results"]
    }
    most = post(shop, "/page/rank", query="tent", most=1000)
    assert (len(most["results"]), most["picked"]["matching"]) == (80, 96)
    assert post(shop, "/page/rank", history=[])["cold_start"] is True
    assert post(shop, "/page/rank", history=["tent"] * 50, within="red")["truncated"]["history"] == 44


def test_titles_of_ones_own(client):
    answer = post(client, "/page/rank", query="tent", titles=["desk lamp", "x" * 500])
    assert {row["key"] for row in answer["results"]} == {0, 1}
    assert sorted(len(row["title"]) for row in answer["results"]) == [9, 240]
    assert answer["picked"] == {"from": "titles", "matching": 2, "related": 0}
    assert post(client, "/page/rank", query="tent")["results"] == []
    assert post(client, "/page/rank", query="tent", titles=[])["results"] == []


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "body", "give a history or a query"),
        ({"query": "a", "history": []}, "body", "give a history or a query"),
        ({"history": [96]}, "history[0]", "no item of the catalogue"),
        ({"history": ["a", -1]}, "history[1]", "no item of the catalogue"),
        ({"history": [True]}, "history[0]", ""),
        ({"history": [" "]}, "history[0]", "is empty"),
        ({"query": "a", "most": 0}, "most", "greater than or equal to 1"),
        ({"query": "a", "most": MOST_CANDIDATES + 1}, "most", "less than or equal to"),
        ({"query": "a", "titles": ["b", " "]}, "items[1].title", "is empty"),
        ({"query": "a", "titles": ["b"] * 81}, "titles", "81 are more than the 80"),
        ({"query": "a", "more": 1}, "more", "not permitted"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_names_the_field(shop, body, field, says):
    response = shop.post("/page/rank", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["field"]) == (422, field)
    assert says in error["message"]


def test_with_keys_the_files_are_open_and_the_data_is_not(trained_bundle, aisle_data, keys):
    with (
        serving(bundle=str(trained_bundle), items_file=str(aisle_data / "items.parquet"), **keys) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as client,
    ):
        assert all(client.get(path).status_code == 200 for path in ASSETS)
        assert not [path for path, asset in ASSETS.items() if TITLES[0].encode() in asset.content]
        for path in ("/page/facts", "/page/catalogue", "/page/rank", "/page/nothing.js", "/page/"):
            assert client.get(path).status_code == 401
            assert client.post(path, json={"query": "a"}).status_code == 401
        assert client.get("/page/facts", headers={"authorization": f"Bearer {API_KEY}"}).status_code == 200


def test_a_catalogue_that_cannot_be_read_stops_the_start(trained_bundle, tmp_path, serve):
    broken = tmp_path / "items.jsonl"
    broken.write_text(json.dumps({"id": "a", "title": "zebrasecret"}) + "\n{")
    with pytest.raises(AssertionError) as caught:
        serve(trained_bundle, "--items", str(broken))
    assert "line 2 is not JSON" in str(caught.value)
    assert "zebrasecret" not in str(caught.value)


def test_the_program_takes_a_catalogue(trained_bundle, aisle_data, serve):
    served = serve(trained_bundle, "--items", str(aisle_data / "items.parquet"))
    with served.client() as client:
        assert client.get("/page/facts").json()["catalogue"] == len(TITLES)
        post(client, "/page/rank", query="zebrasecret")
        post(client, "/page/catalogue", search="zebrasecret")
    assert served.stop() == 0
    assert "zebrasecret" not in served.log.read_text()


def shelf(number):
    return [Item(str(index), f"{'Green' if index % 3 else 'red'} thing {index}") for index in range(number)]


def test_the_same_sample_whatever_the_history():
    catalogue = Catalogue(shelf(1000))
    first = catalogue.candidates(["zebra"], "", 100)
    assert (len(first.positions), first.matching, first.related) == (100, 1000, 0)
    other = catalogue.candidates(["thing 17", "thing 171"], "", 100)
    assert other.related == 2
    assert {17, 171} <= set(other.positions)
    assert len(set(first.positions) & set(other.positions)) >= 98
    assert list(other.positions) == sorted(other.positions)


def test_rare_words_come_first_and_take_half_at_most():
    items = [Item(str(index), f"tent {index % 10}") for index in range(100)]
    items += [Item(str(index), f"lamp {index}") for index in range(900)]
    catalogue = Catalogue(items)
    picked = catalogue.candidates(["Tent 3"], "", 40)
    assert picked.related == 20
    assert {index for index in range(100) if index % 10 == 3} <= set(picked.positions)


def test_the_filter_holds_for_all():
    catalogue = Catalogue(shelf(1000))
    picked = catalogue.candidates(["thing 17"], "RED", 50)
    assert (len(picked.positions), picked.matching) == (50, 334)
    assert all(position % 3 == 0 for position in picked.positions)
    assert catalogue.candidates(["red"], "red 999", 50).positions == (999,)
    assert catalogue.candidates(["red"], "zebra", 50).positions == ()


def test_no_catalogue_is_an_empty_one(tmp_path):
    assert len(Catalogue.read(None)) == 0
    assert Catalogue().candidates(["a"], "", 10).positions == ()
    with pytest.raises(InvalidInput, match="no such file"):
        Catalogue.read(str(tmp_path / "items.csv"))
