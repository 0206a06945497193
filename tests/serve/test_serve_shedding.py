"""A full queue refuses every route that ranks, before its body is read, under a route without a text of a client."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from onyxrank import Overloaded
from onyxrank.serve.shedding import Shedding


def asked(path, method="POST"):
    """Status of the answer, the route that the log and the metrics see, and whether the application was reached."""
    reached, sent, refused = [], [], []

    async def app(scope, receive, send):
        reached.append(scope["path"])

    async def send(message):
        sent.append(message)

    def full():
        raise Overloaded("full", retry_after_s=1.0)

    metrics = SimpleNamespace(refused=refused.append)
    service = SimpleNamespace(loaded=lambda: SimpleNamespace(check_room=full), metrics=metrics)
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    asyncio.run(Shedding(app, service)(scope, None, send))
    status = sent[0]["status"] if sent else None
    return status, getattr(scope.get("route"), "path", None), bool(reached)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/rank", "/v1/rank"),
        ("/page/rank", "/page/rank"),
        ("/v2/models/zebrasecret/infer", "/v2/models/{model}/infer"),
        ("/v2/models/zebrasecret/versions/1/infer", "/v2/models/{model}/versions/{version}/infer"),
    ],
)
def test_every_route_that_ranks_is_refused(path, route):
    assert asked(path) == (429, route, False)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v2/models/shop", "GET"),
        ("/v2/models/shop/infer", "GET"),
        ("/page/catalogue", "POST"),
        ("/v2/models/a/b/infer", "POST"),
    ],
)
def test_what_does_not_rank_passes(path, method):
    assert asked(path, method) == (None, None, True)
