"""Reads a request's body within limits of size and time, and gives up requests whose client has left.

The whole body is read here, before the application sees the request, so that a slow or huge body takes no place in
the queue.
"""

from __future__ import annotations

import asyncio

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onyxrank.serve.problems import Problem, answer

_UNWATCHED_S = 0.01
"""Seconds after which a task begins to watch whether the client has left.

Most answers are there by then, and need no such task, which would take longer than everything else in this module.
"""


class ClientLeft(Exception):
    """The client closed the connection before its answer."""


class Body:
    """Middleware that reads the body, and gives up a request whose client has left.

    Args:
        app: application to which requests are passed on.
        max_bytes: most bytes that a body may have.
        timeout_s: most seconds that a body may take to come in.

    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self._app, self._max_bytes, self._timeout_s = app, max_bytes, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or answer 408 if it is too slow and 413 if it is too large.

        Raises:
            ClientLeft: if the client has left, so that there is nobody to answer.

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
        """Read the body; None if it is too large."""
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
    """Make a `receive` that gives the body, which has been read already, before it goes on with the given one."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


async def _while_connected(app: ASGIApp, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
    """Let the application answer, unless the client leaves first.

    The application's work is then cancelled, which frees its place in the queue.
    """
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
