"""The Open Inference Protocol, version 2, over HTTP (kserve/open-inference-protocol), with JSON tensors of strings.

The model's inputs are ``history`` [events], ``title`` [items] and optionally ``description`` [items]. Its output is
``score`` [items], in the order of the items.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from onyxrank.errors import InvalidInput
from onyxrank.request.items import Item
from onyxrank.serve.service import Service, service_of

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
VERSION = "1"
"""The only version of a model that is served; reloading replaces it."""
_INPUTS = ("history", "title", "description")


class Tensor(BaseModel):
    """A tensor of strings."""

    name: str
    shape: list[int]
    datatype: Literal["BYTES"]
    data: list[str]
    parameters: dict[str, Any] | None = None


class Output(BaseModel):
    """An output tensor that the client asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """One history and its items."""

    id: str | None = Field(None, max_length=200)
    inputs: list[Tensor]
    outputs: list[Output] | None = None
    parameters: dict[str, Any] | None = None


@router.get("")
async def server() -> dict[str, Any]:
    """Return the name and version of the server."""
    from onyxrank import __version__

    return {"name": "onyxrank", "version": __version__, "extensions": []}


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


@router.get("/models/{model}/ready")
@router.get("/models/{model}/versions/{version}/ready", include_in_schema=False)
async def model_ready(model: str, request: Request, version: str = VERSION) -> Response:
    """Answer 200 if the model is served."""
    _known(request, model, version)
    return Response()


@router.post("/models/{model}/infer")
@router.post("/models/{model}/versions/{version}/infer", include_in_schema=False)
async def infer(body: InferRequest, model: str, request: Request, version: str = VERSION) -> JSONResponse:
    """Score items in the order of the request."""
    service = _known(request, model, version)
    for output in body.outputs or []:
        if output.name != "score":
            raise InvalidInput("outputs: the model has one, score", field="outputs")
    tensors = _tensors(body.inputs)
    titles = tensors["title"]
    descriptions = tensors.get("description", [""] * len(titles))
    if len(descriptions) != len(titles):
        raise InvalidInput("description must have as many elements as title", field="description")
    items = [
        Item(str(index), title, description)
        for index, (title, description) in enumerate(zip(titles, descriptions, strict=True))
    ]
    ranking = await service.rank(tensors.get("history", []), items)
    scores = [0.0] * ranking.total
    for hit in ranking:
        scores[hit.index] = hit.score
    answer: dict[str, Any] = {
        "model_name": service.name,
        "model_version": VERSION,
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [len(scores)], "data": scores}],
    }
    return JSONResponse(answer if body.id is None else {"id": body.id} | answer)


def _known(request: Request, model: str, version: str) -> Service:
    service = service_of(request)
    if model != service.name or version != VERSION:
        raise HTTPException(404, "no such model or version; GET /info names the model")
    return service


def _tensors(inputs: list[Tensor]) -> dict[str, list[str]]:
    tensors: dict[str, list[str]] = {}
    for index, tensor in enumerate(inputs):
        if tensor.name not in _INPUTS or tensor.name in tensors:
            raise InvalidInput(
                f"inputs[{index}]: the model has history, title and description, once each", field="inputs"
            )
        if tensor.shape != [len(tensor.data)]:
            raise InvalidInput(f"inputs[{index}].shape must be [{len(tensor.data)}], as data has", field="shape")
        tensors[tensor.name] = tensor.data
    if "title" not in tensors:
        raise InvalidInput("inputs must have title", field="inputs")
    return tensors
