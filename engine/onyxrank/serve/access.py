"""Who may ask what: bearer keys, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from onyxrank.serve.assets import ASSETS
from onyxrank.serve.problems import Problem, answer

PROBES = ("/health", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
OPEN_PATHS = frozenset({*PROBES, *ASSETS})
"""Asked by probes, which have no key, and tell nothing but whether the server works; or files of the page, which hold
no data and ask for a key."""
ADMIN = "/admin/"


class Keys:
    """Keys that open something.

    Args:
        keys: the keys; only their digests are kept.

    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def open(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header holds one of the keys.

        All are compared, each in constant time: how long it takes says nothing about any of them.
        """
        scheme, _, key = authorization.partition(" ")
        given = hashlib.sha256(key.strip().encode()).digest()
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(found)


class Access:
    """Middleware that refuses requests without the key of what they ask for.

    Args:
        app: what it guards.
        api: keys of every path but the open ones; None asks for none.
        admin: keys of ``/admin``; None closes it.

    """

    def __init__(self, app: ASGIApp, api: Keys | None, admin: Keys | None) -> None:
        self._app, self._api, self._admin = app, api, admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 403."""
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await answer(problem, scope["path"])(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        path, keys = scope["path"], self._api
        if path.startswith(ADMIN):
            keys = self._admin
            if keys is None:
                return Problem(status=403, kind="closed", message="this server has no admin key: /admin is closed")
        elif path in OPEN_PATHS:
            return None
        if keys is None or keys.open(Headers(scope=scope).get("authorization", "")):
            return None
        return Problem(status=401, kind="unauthorized", message="a valid key is needed: Authorization: Bearer KEY")
