"""Answers HEAD wherever GET is answered, with the same headers and without the body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """Middleware that passes HEAD on as GET.

    Args:
        app: application to which requests are passed on.

    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and leave the body out of the answer to HEAD."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        # A copy, since the server and the log go on with the method that the client sent.
        asked = {**scope, "method": "GET"}
        await self._app(asked, receive, without_body)
        if "route" in asked:
            scope["route"] = asked["route"]
