"""Refuses requests for other hosts than the server's own.

A page from elsewhere may point a name of its own at this machine, and would then read what a server without keys
answers on a loopback address, as if it were that page's own (DNS rebinding). The browser sends that name.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from onyxrank.serve.problems import Problem, answer

ANY = "*"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names of a server that only this machine reaches."""


class Hosts:
    """Middleware that answers 421 to a request for another host.

    Args:
        app: application to which requests are passed on.
        allowed: names without a port, or ``*`` for any.

    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app, self._allowed = app, frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it is for one of the names."""
        if scope["type"] != "http" or ANY in self._allowed or host_of(scope) in self._allowed:
            await self._app(scope, receive, send)
            return
        message = "this server does not answer for that host; name it with --allowed-host"
        problem = Problem(status=421, kind="misdirected", message=message, field="host")
        await answer(problem, scope["path"])(scope, receive, send)


def host_of(scope: Scope) -> str:
    """Return the host that a request is for, without its port, in lower case."""
    host = Headers(scope=scope).get("host", "").lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
