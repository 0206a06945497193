"""The application: routes, what goes wrong, and what stands before them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from onyxrank.errors import OnyxrankError
from onyxrank.serve import cohere, logs, native, open_inference, operations, page, tei
from onyxrank.serve.access import Access, Keys
from onyxrank.serve.body import Body
from onyxrank.serve.catalogue import Catalogue
from onyxrank.serve.compression import Compression
from onyxrank.serve.connection import HEADER_TIMEOUT, SEND_TIMEOUT
from onyxrank.serve.context import HEADER, Context
from onyxrank.serve.control import Control
from onyxrank.serve.head import Head
from onyxrank.serve.hosts import Hosts
from onyxrank.serve.metrics import Metrics
from onyxrank.serve.openapi import describe
from onyxrank.serve.problems import Problem, answer, problem_of, problem_of_validation
from onyxrank.serve.service import Service, service_of
from onyxrank.serve.settings import ServeSettings, read_keys
from onyxrank.serve.shedding import Shedding
from onyxrank.serve.unread import Unread

_NO_JSON = "the body cannot be read: it is not UTF-8, or nested too deeply"
SETTINGS = "ONYXRANK_SERVE_SETTINGS"
"""Environment variable through which workers get the settings; keys stay in their files."""


def create() -> ASGIApp:
    """The application of a worker, by the settings in its environment."""
    return build(ServeSettings.parse(os.environ[SETTINGS]))


def build(settings: ServeSettings) -> ASGIApp:
    """Put the application together; its model is loaded when it starts."""
    from onyxrank import __version__

    metrics = Metrics()
    app = FastAPI(
        title="onyxrank",
        version=__version__,
        summary="Ranks items for a shopper, or for a search query.",
        lifespan=_lifespan,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # the address that it would redirect to has no TLS where a proxy adds that
        # Its spans hold queries; ours do not (see `tracing`).
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = Service(settings, metrics)
    app.state.control = Control(settings.control_file, settings.bundle, settings.name)
    for module in (native, tei, cohere, open_inference, operations, page):
        app.include_router(module.router)
    describe(app, settings)
    app.add_exception_handler(OnyxrankError, _engine_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    keys, admin = settings.api_key_file, settings.admin_key_file
    guarded = Access(
        Body(Compression(Shedding(Head(app), app.state.service)), settings.max_body_bytes, settings.body_timeout_s),
        None if keys is None else Keys(read_keys(keys)),
        None if admin is None else Keys(read_keys(admin)),
    )
    answering = Hosts(_shared(guarded, settings.cors_origins), settings.allowed_hosts)
    return Context(Unread(answering), metrics)


def _shared(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let scripts of pages from other origins ask the server; a browser asks for that first, without a key."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", HEADER],
        expose_headers=[HEADER, "retry-after"],
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, float]]:
    service, control = app.state.service, app.state.control
    settings = service.settings
    first = control.begin()
    try:
        app.state.catalogue = await asyncio.to_thread(Catalogue.read, settings.items_file)
        ranker = await service.load(first.bundle)
    except OnyxrankError as error:
        logs.log("start failed", logging.ERROR, reason=str(error))
        raise
    info = service.use(ranker, first.name)
    logs.log(
        "ready", model=first.name, **{key: info[key] for key in ("architecture", "variant", "provider", "threads")}
    )
    control.watch(service)
    refreshing = None if settings.control_file is None else asyncio.create_task(service.refresh())
    try:
        yield {HEADER_TIMEOUT: settings.header_timeout_s, SEND_TIMEOUT: settings.send_timeout_s}
    finally:
        if refreshing is not None:
            refreshing.cancel()
        try:
            await control.close()
        finally:
            await asyncio.to_thread(service.loaded().close)
            logs.log("stopped", model=service.name)


async def _engine_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status != 422:
        service_of(request).metrics.refused(problem.kind)
    if problem.status >= 500:
        logs.log("failure", logging.ERROR, kind=problem.kind, reason=str(error), **logs.of_exception(error))
    return answer(problem, request.url.path)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if "json" not in request.headers.get("content-type", "") and request.method == "POST":
        message = "the body must be sent as content-type: application/json"
        problem = Problem(status=422, kind="invalid_input", message=message, field="content-type", of_shape=True)
        return answer(problem, request.url.path)
    return answer(problem_of_validation(error.errors()), request.url.path)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kinds = {400: "malformed", 404: "not_found", 405: "method_not_allowed"}
    # FastAPI's own 400 only says that it could not parse the body.
    message = _NO_JSON if error.status_code == 400 else str(error.detail)
    problem = Problem(status=error.status_code, kind=kinds.get(error.status_code, "refused"), message=message)
    response = answer(problem, request.url.path)
    response.headers.update(error.headers or {})
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    return answer(problem_of(error), request.url.path)
