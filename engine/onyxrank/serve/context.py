"""Around every request: its id, its span, its line in the log, its place in the metrics."""

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
"""What is logged and counted for a request whose client left, as nginx does; nobody gets it."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNKNOWN = "unmatched"


def _without_traceback(send: Send) -> Send:
    """Why it did not start is in the log already, in one line."""

    async def sent(message: Message) -> None:
        await send({**message, "message": ""} if message["type"].endswith(".failed") else message)

    return sent


class Context:
    """The outermost middleware.

    Args:
        app: what comes behind it.
        metrics: where requests are counted.

    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an exception that nobody expected is answered here, with 500."""
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
            except Exception as error:  # the last place where it can be answered
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
