"""Routes for those who run the server: health, metrics and reload."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict
from starlette.responses import PlainTextResponse, Response

from onyxrank.serve.access import PROBES
from onyxrank.serve.control import Control
from onyxrank.serve.service import service_of
from onyxrank.serve.values import Name

router = APIRouter(tags=["operations"])


class ReloadRequest(BaseModel):
    """The bundle to serve from now on, and the model's name."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    name: Name = ""


async def alive() -> Response:
    """Answer 200. The server takes no request before its model is loaded, so the model is there if it answers."""
    return Response()


for path in PROBES:
    router.add_api_route(path, alive, response_class=Response)


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Name the model that is served, as OpenAI's API does; clients of several servers ask for it."""
    model = {"id": service_of(request).name, "object": "model", "created": 0, "owned_by": "onyxrank"}
    return {"object": "list", "data": [model]}


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus's text format."""
    service = service_of(request)
    service.metrics.update(service.loaded().info())
    return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)


@router.post("/admin/reload")
async def reload(body: ReloadRequest, request: Request) -> dict[str, Any]:
    """Serve another bundle, without failing a request or answering one with two models.

    If the bundle cannot be loaded, the server goes on with the one before. The model keeps its name unless the
    request gives another. With several workers, the others follow within a second. A reload that has begun comes to
    its end even if the client leaves.
    """
    service = service_of(request)
    control: Control = request.app.state.control
    name, info = await control.reload(service, body.bundle, body.name)
    return {"model": name, "architecture": info["architecture"], "variant": info["variant"]}
