"""How a request's body comes in: within its size and its time, and what if the client leaves.

The body is read here, whole, before the application sees the request: a slow or huge one costs no place in the queue.
"""

from __future__ import annotations

import asyncio

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onyxrank.serve.problems import Problem, answer

_UNWATCHED_S = 0.01
"""Seconds of a request before anybody looks whether its client has left: an answer that is there by then needs no
second task, which would take longer than all else that is done here."""


class ClientLeft(Exception):
    """The client closed the connection before its answer."""


class Body:
    """Middleware that reads the body, and gives up a request whose client has left.

    Args:
        app: what comes behind it.
        max_bytes: most bytes of a body.
        timeout_s: most seconds for it to come in.

    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self._app, self._max_bytes, self._timeout_s = app, max_bytes, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or answer 408 or 413.

        Raises:
            ClientLeft: if there is nobody to answer.

        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = None
        with anyio.move_on_after(self._timeout_s) as patience:
            body = await self._read(scope, receive)
        if patience.cancelled_caught:
            problem = Problem(status=408, kind="timeout", message="the body took too long to come in", field="body")
            await answer(problem, scope["path"])(scope, receive, send)
            return
        if body is None:
            message = f"the body is larger than the {self._max_bytes} bytes that this server takes"
            problem = Problem(status=413, kind="too_large", message=message, field="body")
            await answer(problem, scope["path"])(scope, receive, send)
            return
        await _while_connected(self._app, scope, receive, send, body)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None if it is too large."""
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > self._max_bytes:
            return None
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_bytes:
                return None
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


async def _while_connected(app: ASGIApp, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
    """Answer unless the client leaves: then the work is cancelled, and frees its place in the queue."""
    loop = asyncio.get_running_loop()
    answered = False
    watching: asyncio.Task[None] | None = None

    async def sent(message: Message) -> None:
        nonlocal answered
        await send(message)
        answered = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def leave(work: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not answered:
            work.cancel()

    def watch(work: anyio.CancelScope) -> None:
        nonlocal watching
        watching = loop.create_task(leave(work))

    with anyio.CancelScope() as work:
        begin = loop.call_later(_UNWATCHED_S, watch, work)
        try:
            await app(scope, _replay(body, receive), sent)
        finally:
            begin.cancel()
            if watching is not None:
                watching.cancel()
    if work.cancelled_caught:
        raise ClientLeft
