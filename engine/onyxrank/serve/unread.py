"""Closes the connections of requests that are answered before their body was read.

A client that is refused may go on to send the body, for as long as it likes, and nothing else would end its
connection. The answer therefore says that the connection closes, and does so a moment later: to close it at once
would reset it while the client is still sending, and the answer would be lost.
"""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LINGER_S = 1.0
"""Most seconds for which the rest of a body is read and dropped, so that its sender comes to see the answer."""


class Unread:
    """Middleware that ends the connection of every request whose body was not read.

    Args:
        app: application to which requests are passed on.

    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; if it is answered before its body was read, announce that the connection closes."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        unread, closing = True, False

        async def received() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def sent(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start" and unread:
                closing = True
                MutableHeaders(scope=message)["connection"] = "close"
            if not closing or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            with anyio.move_on_after(_LINGER_S):
                while unread:
                    await received()
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, received, sent)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
