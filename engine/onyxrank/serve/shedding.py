"""Refuses rankings while the queue is full, before their bodies are parsed, so that refusing costs little."""

from __future__ import annotations

import re
from types import SimpleNamespace

from starlette.types import ASGIApp, Receive, Scope, Send

from onyxrank.errors import Overloaded
from onyxrank.serve.problems import answer, problem_of
from onyxrank.serve.service import Service

_RANKING = frozenset(
    {"/v1/rank", "/rerank", "/invocations", "/v1/rerank", "/v2/rerank", "/jina/v1/rerank", "/page/rank"}
)
"""Paths that rank."""
_INFER = re.compile(r"(/v2/models/)[^/]+(/versions/)?(?(2)[^/]+)(/infer)")
"""Paths of the Open Inference Protocol that rank; they name a model, and perhaps a version."""


def ranking_route(path: str) -> str | None:
    """Return the route of a path that ranks, without what a client put into it, or None for any other path."""
    if path in _RANKING:
        return path
    found = _INFER.fullmatch(path)
    if found is None:
        return None
    return "/v2/models/{model}/versions/{version}/infer" if found[2] else "/v2/models/{model}/infer"


class Shedding:
    """Middleware that answers 429 while the queue is full.

    Args:
        app: application to which requests are passed on.
        service: the service whose queue is asked for room.

    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        route = ranking_route(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is not None:
            try:
                self._service.loaded().check_room()
            except Overloaded as error:
                problem = problem_of(error)
                # The router, which this request does not reach, would set the route for the log and the metrics.
                scope["route"] = SimpleNamespace(path=route)
                self._service.metrics.refused(problem.kind)
                await answer(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)
