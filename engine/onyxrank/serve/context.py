"""What surrounds every request: its id, its span, its line in the log, and its place in the metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onyxrank.serve import logs, tracing
from onyxrank.serve.body import ClientLeft
from onyxrank.serve.metrics import Metrics
from onyxrank.serve.problems import answer, problem_of

HEADER = "x-request-id"
CLIENT_LEFT = 499
"""Status that is logged and counted for a request whose client left, as nginx does. It is never sent."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""Ids that are taken over from a client. Any other could write whatever it likes into the log."""
_UNKNOWN = "unmatched"
"""Route of requests that no route matches; their paths must not get into the log."""


def _without_traceback(send: Send) -> Send:
    """Leave the traceback out of a failed start, since the log has the reason already, in one line."""

    async def sent(message: Message) -> None:
        await send({**message, "message": ""} if message["type"].endswith(".failed") else message)

    return sent


class Context:
    """The outermost middleware.

    Args:
        app: application to which requests are passed on.
        metrics: what counts the requests.

    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer an exception that nobody expected with 500."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, _without_traceback(send))
            return
        began, headers = time.perf_counter(), Headers(scope=scope)
        given = headers.get(HEADER, "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with tracing.request_span(scope["method"], headers) as span:
            fault = None
            try:
                await self._app(scope, receive, named)
            except ClientLeft:
                status = CLIENT_LEFT
                self._metrics.refused("client_left")
            except Exception as error:  # this is the last place where the request can be answered
                fault = error
                if not status:
                    await answer(problem_of(error), scope["path"])(scope, receive, named)
            route = getattr(scope.get("route"), "path", _UNKNOWN)
            tracing.finish(span, scope["method"], route, status)
        seconds = time.perf_counter() - began
        self._metrics.request(route, status, seconds)
        fields = {"request_id": request_id, "method": scope["method"], "route": route, "status": status}
        if fault is not None:
            logs.log("failure", logging.ERROR, **fields, **logs.of_exception(fault))
        logs.log("request", ms=round(seconds * 1000, 2), **fields)
