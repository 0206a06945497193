"""The Open Inference Protocol, version 2, over HTTP (kserve/open-inference-protocol), with tensors of strings.

Tensors may also come in the binary form of Triton's clients (see `tensors`), and compressed. The model's inputs are
``history`` [events], ``title`` [items] and optionally ``description`` [items]. Its output is ``score`` [items], in
the order of the items. An axis of 1 may come before, which the output then has too.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import ValidationError
from starlette.responses import Response

from onyxrank.errors import InvalidInput
from onyxrank.request.items import MOST_EVENTS, Item
from onyxrank.serve import tensors
from onyxrank.serve.compression import CannotExpand, expanded
from onyxrank.serve.problems import answer, problem_of_validation
from onyxrank.serve.service import Service, service_of
from onyxrank.serve.wording import TENSORS

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
VERSION = "1"
"""The only version of a model that is served; reloading replaces it."""
_INPUTS = ("history", "title", "description")
REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}},
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
            },
        },
    }
}
"""What the page of the API says of the body, which the endpoint reads itself."""


@router.get("")
async def server() -> dict[str, Any]:
    """Return the name and version of the server."""
    from onyxrank import __version__

    return {"name": "onyxrank", "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/models/{model}")
@router.get("/models/{model}/versions/{version}", include_in_schema=False)
async def model(model: str, request: Request, version: str = VERSION) -> dict[str, Any]:
    """Return the names and types of the model's inputs and outputs."""
    service = _known(request, model, version)
    return {
        "name": service.name,
        "versions": [VERSION],
        "platform": "onyxrank",
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in _INPUTS],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1]}],
    }


@router.get("/models/{model}/ready", response_class=Response)
@router.get("/models/{model}/versions/{version}/ready", include_in_schema=False)
async def model_ready(model: str, request: Request, version: str = VERSION) -> Response:
    """Answer 200 if the model is served."""
    _known(request, model, version)
    return Response()


@router.post("/models/{model}/infer", openapi_extra=REQUEST_BODY)
@router.post("/models/{model}/versions/{version}/infer", include_in_schema=False)
async def infer(model: str, request: Request, version: str = VERSION) -> Response:
    """Score items in the order of the request. A body needs no content type: Triton's clients send none."""
    service = _known(request, model, version)
    headers, settings = request.headers, service.settings
    try:
        body = await asyncio.to_thread(
            expanded, await request.body(), headers.get("content-encoding", ""), settings.max_body_bytes
        )
        text, behind = tensors.split(body, headers.get(tensors.JSON_LENGTH))
        asked = await asyncio.to_thread(tensors.InferRequest.model_validate_json, text)
    except CannotExpand as error:
        return answer(error.problem, request.url.path)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return answer(
            problem_of_validation([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]), request.url.path
        )
    for output in asked.outputs or []:
        if output.name != "score":
            raise InvalidInput("outputs: the model has one, score", field="outputs")
    inputs = await asyncio.to_thread(_inputs, asked.inputs, behind, settings.max_items)
    titles = inputs["title"]
    descriptions = inputs["description"].data if "description" in inputs else [""] * len(titles.data)
    if len(descriptions) != len(titles.data):
        raise InvalidInput("description must have as many elements as title", field="description")
    items = [
        Item(str(index), title, description)
        for index, (title, description) in enumerate(zip(titles.data, descriptions, strict=True))
    ]
    history = inputs["history"].data if "history" in inputs else []
    ranking, scored_by = await service.rank(history, items, wording=TENSORS, blank=True)
    scores = [0.0] * ranking.total
    for hit in ranking:
        scores[hit.index] = hit.score
    head = {} if asked.id is None else {"id": asked.id}
    head |= {"model_name": scored_by, "model_version": VERSION}
    return tensors.answer(head, scores, titles.shape, binary=asked.wants_binary())


def _known(request: Request, model: str, version: str) -> Service:
    service = service_of(request)
    if model != service.name or version != VERSION:
        raise HTTPException(404, "no such model or version; GET /info names the model")
    return service


def _inputs(given: list[tensors.Tensor], behind: bytes, max_items: int) -> dict[str, tensors.Texts]:
    names = [tensor.name for tensor in given]
    for index, name in enumerate(names):
        if name not in _INPUTS or name in names[:index]:
            raise InvalidInput(
                f"inputs[{index}]: the model has history, title and description, once each", field="inputs"
            )
    if "title" not in names:
        raise InvalidInput("inputs must have title", field="inputs")
    return dict(zip(names, tensors.read(given, behind, max(max_items, MOST_EVENTS)), strict=True))
