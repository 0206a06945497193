"""Requests for a host that is not the server's own, as a page elsewhere sends them after DNS rebinding."""

from __future__ import annotations

import httpx
import pytest
from serving import API_KEY, serving

from onyxrank.serve.settings import ServeSettings


def status(url, host, **headers):
    return httpx.get(f"{url}/v1/models", headers={"host": host} | headers).status_code


def test_without_a_key_a_loopback_address_answers_for_loopback_names_only(fake_model):
    with serving(bundle=fake_model) as url:
        for own in ("localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080"):
            assert status(url, own) == 200
        for other in (
            "shop.example",
            "shop.example:8080",
            "localhost.shop.example",
            "127.0.0.1.shop.example",
            "::1",
            "",
        ):
            assert status(url, other) == 421
        answer = httpx.get(f"{url}/", headers={"host": "shop.example"})
        assert "--allowed-host" in answer.json()["error"]["message"]


@pytest.mark.parametrize("named", ["shop.example", "*"])
def test_names_can_be_told(fake_model, named):
    with serving(bundle=fake_model, allowed_hosts=(named,)) as url:
        assert status(url, "shop.example:443") == 200
        assert status(url, "127.0.0.1") == (200 if named == "*" else 421)


def test_behind_a_key_any_name_is_answered(fake_model, keys):
    with serving(bundle=fake_model, **keys) as url:
        assert status(url, "shop.example", authorization=f"Bearer {API_KEY}") == 200


def test_names_reach_the_workers():
    told = ServeSettings(bundle="bundle", allowed_hosts=("shop.example",))
    assert ServeSettings.parse(told.to_json()) == told
    beyond = ServeSettings(bundle="bundle", host="0.0.0.0", insecure=True)
    assert beyond.allowed_hosts == ("*",)
