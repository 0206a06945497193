from __future__ import annotations

import json

import httpx
import pytest
from serving import ADMIN_KEY, API_KEY, PATIENCE, serving

from onyxrank import InvalidInput
from onyxrank.loading.options import LoadOptions
from onyxrank.serve.access import OPEN_PATHS, Keys
from onyxrank.serve.assets import ASSETS
from onyxrank.serve.settings import ServeSettings, is_loopback, read_keys

BODY = {"query": "tent", "items": ["lamp"]}


@pytest.fixture(scope="module")
def guarded(trained_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    (folder / "api").write_text(f"# the shop's\n{API_KEY}\nanother-key-of-the-shop\n")
    (folder / "admin").write_text(ADMIN_KEY)
    options = {"api_key_file": str(folder / "api"), "admin_key_file": str(folder / "admin")}
    with (
        serving(bundle=str(trained_bundle), **options) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as asking,
    ):
        yield asking


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def routes(client):
    page = client.get("/openapi.json", headers=bearer(API_KEY)).json()
    return [(method.upper(), path) for path, methods in page["paths"].items() for method in methods]


def test_every_route_but_health_and_files_of_the_page_needs_a_key(guarded):
    asked = [*routes(guarded), ("GET", "/openapi.json"), ("GET", "/nothing"), ("POST", "/invocations")]
    asked += [("GET", path) for path in (*ASSETS, "/page/", "/page/nothing.js")]
    assert len(asked) > 15
    assert {"/page/facts", "/page/catalogue", "/page/rank"} <= {path for _, path in asked} - OPEN_PATHS
    for method, path in asked:
        path = path.format(model="shop")
        for headers in (
            {},
            bearer("wrong"),
            bearer(API_KEY[:-1]),
            {"authorization": API_KEY},
            {"authorization": "Bearer"},
        ):
            response = guarded.request(method, path, headers=headers, json=BODY)
            if path in OPEN_PATHS:
                assert response.status_code == 200, path
            else:
                assert response.status_code == 401, (method, path)
                assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", [API_KEY, "another-key-of-the-shop"], ids=["first", "second"])
def test_a_right_key_opens_the_api_and_not_the_admin(guarded, key):
    assert guarded.post("/v1/rank", json=BODY, headers=bearer(key)).status_code == 200
    assert guarded.post("/v1/rank", json=BODY, headers={"authorization": f"bearer {key}"}).status_code == 200
    assert guarded.post("/admin/reload", json={"bundle": "x"}, headers=bearer(key)).status_code == 401


def test_the_admin_key_opens_the_admin_alone(guarded):
    assert guarded.post("/v1/rank", json=BODY, headers=bearer(ADMIN_KEY)).status_code == 401
    response = guarded.post("/admin/reload", json={"bundle": "/nowhere"}, headers=bearer(ADMIN_KEY))
    assert (response.status_code, response.json()["error"]["field"]) == (422, "bundle")


def test_without_an_admin_key_the_admin_is_closed(client):
    response = client.post("/admin/reload", json={"bundle": "x"}, headers=bearer(ADMIN_KEY))
    assert (response.status_code, response.json()["error"]["type"]) == (403, "closed")


def test_keys_are_not_kept():
    keys = Keys([API_KEY])
    assert API_KEY not in repr(vars(keys))
    assert keys.open(f"Bearer {API_KEY}")
    assert not keys.open("Basic " + API_KEY)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no key"),
        ("# none\n\n", "holds no key"),
        ("long-enough-key-0001\nshort\n", "key 2 must be at least 16"),
        ("a key with spaces in it\n", "key 1 must be"),
        ("schlüssel-mit-umlaut-001\n", "key 1 must be"),
    ],
    ids=["empty", "comments", "short", "spaces", "not ascii"],
)
def test_files_of_keys_are_checked_and_not_quoted(tmp_path, content, says):
    (tmp_path / "keys").write_text(content)
    with pytest.raises(InvalidInput, match=says) as caught:
        read_keys(tmp_path / "keys")
    assert "short" not in str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"host": "0.0.0.0"}, "needs --api-key-file"),
        ({"host": "shop.example"}, "needs --api-key-file"),
        ({"port": 70_000}, "port must be"),
        ({"workers": 0}, "workers must be"),
        ({"timeout_s": float("nan")}, "timeout_s must be"),
        ({"ssl_certfile": "cert.pem"}, "both a certificate"),
        ({"api_key_file": "/nowhere/keys"}, "cannot be read"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_are_checked(changed, says):
    with pytest.raises(InvalidInput, match=says):
        ServeSettings(bundle="bundle", **changed)


def test_settings_pass_through_text(tmp_path):
    load = LoadOptions(threads=2, sessions=3, micro_batch_tokens=512, profile=None)
    settings = ServeSettings(bundle=str(tmp_path / "shop"), host="0.0.0.0", insecure=True, load=load)
    assert ServeSettings.parse(settings.to_json()) == settings
    assert ServeSettings.parse(settings.to_json()).load == load
    assert settings.name == "shop"


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("::", False), ("10.0.0.1", False)]
)
def test_what_is_within_this_machine(host, own):
    assert is_loopback(host) is own


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "", "\ud800"], ids=["long", "zero byte", "empty", "surrogate"])
def test_a_reload_of_a_path_that_the_system_does_not_take(guarded, path):
    headers = bearer(ADMIN_KEY) | {"content-type": "application/json"}
    response = guarded.post("/admin/reload", content=json.dumps({"bundle": path}).encode(), headers=headers)
    assert (response.status_code, response.json()["error"]["type"]) == (422, "bundle_error")


def test_a_reload_under_a_name_that_no_answer_could_carry(guarded, trained_bundle):
    headers = bearer(ADMIN_KEY) | {"content-type": "application/json"}
    body = json.dumps({"bundle": str(trained_bundle), "name": "\ud800"}).encode()
    response = guarded.post("/admin/reload", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["field"]) == (422, "name")
