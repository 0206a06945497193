"""Checks who may ask what, by bearer keys that are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from onyxrank.serve.assets import ASSETS
from onyxrank.serve.problems import Problem, answer

PROBES = ("/health", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/ping")
OPEN_PATHS = frozenset({*PROBES, *ASSETS})
"""Paths that need no key.

Probes have none, and their answers say only whether the server works. The files of the page hold no data, and the
page itself asks its user for a key.
"""
ADMIN = "/admin/"
"""Start of the paths that need the admin key."""


class Keys:
    """A set of keys, each of which gives access.

    Args:
        keys: the keys, of which only digests are kept in memory.

    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def open(self, authorization: str) -> bool:
        """Say whether an ``Authorization`` header holds one of the keys.

        It is compared with all of them, each in constant time, so that the time taken says nothing about any key.
        """
        scheme, _, key = authorization.partition(" ")
        given = hashlib.sha256(key.strip().encode()).digest()
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(found)


class Access:
    """Middleware that refuses requests without a key for what they ask.

    Args:
        app: application to which requests are passed on.
        api: keys for all paths except the open ones, or None if no key is needed.
        admin: keys for the paths under ``/admin``, or None if they are closed to everyone.

    """

    def __init__(self, app: ASGIApp, api: Keys | None, admin: Keys | None) -> None:
        self._app, self._api, self._admin = app, api, admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 if a valid key is missing and 403 if the path is closed."""
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
