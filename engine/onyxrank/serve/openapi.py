"""The page of the API at ``/openapi.json``: FastAPI's, with the errors that are really answered, and the keys.

FastAPI describes what its endpoints return. It knows nothing of the errors, which have the shape of each API, and of
the keys, which are asked for before it sees a request.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from onyxrank.serve.access import ADMIN, OPEN_PATHS
from onyxrank.serve.problems import shape_of
from onyxrank.serve.settings import ServeSettings
from onyxrank.serve.tensors import InferRequest

_REFERENCE = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
_ERRORS: dict[str, dict[str, Any]] = {
    "onyxrank": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["type", "message", "field"],
                "properties": {"type": _TEXT, "message": _TEXT, "field": _TEXT},
            }
        },
    },
    "tei": {
        "type": "object",
        "required": ["error", "error_type"],
        "properties": {"error": _TEXT, "error_type": _TEXT},
    },
    "cohere": {"type": "object", "required": ["message"], "properties": {"message": _TEXT}},
    "jina": {"type": "object", "required": ["detail"], "properties": {"detail": _TEXT}},
    "open_inference": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
}
"""Schemas of the errors, by the API's name in `problems`."""
_OF_EVERY = {"500": "A fault of the server; its log has the request's id."}
_OF_BODIES = {
    "400": "The body is no JSON.",
    "408": "The body took too long to come in.",
    "413": "The body is too large.",
    "415": "The body is compressed.",
    "422": "Something in the body cannot be used; the message says where.",
}
_OF_RANKING = {
    "429": "There is no room now; retry-after says when there should be.",
    "503": "The model does not answer now.",
    "504": "The deadline passed.",
}
_NO_KEY = {"401": "A valid key is needed."}
_NO_MODEL = {"404": "There is no such model or version."}
_CLOSED = {"403": "This server has no admin key."}
_BACKEND = {"424": "The model failed."}


def describe(app: FastAPI, settings: ServeSettings) -> None:
    """Make an application answer ``/openapi.json`` with this page, which is written when it is first asked for."""

    def page() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _page(app, settings)
        return app.openapi_schema

    app.openapi = page  # type: ignore[method-assign]


def _page(app: FastAPI, settings: ServeSettings) -> dict[str, Any]:
    page = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas = page["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {_name(api): schema for api, schema in _ERRORS.items()}
    request = InferRequest.model_json_schema(ref_template=_REFERENCE)
    schemas |= request.pop("$defs") | {"InferRequest": request}
    keys = {"key": settings.api_key_file, "admin": settings.admin_key_file}
    schemes = {name: {"type": "http", "scheme": "bearer"} for name, file in keys.items() if file is not None}
    if schemes:
        page["components"]["securitySchemes"] = schemes
    for path, methods in page["paths"].items():
        for method, operation in methods.items():
            key = None if path in OPEN_PATHS else "admin" if path.startswith(ADMIN) else "key"
            operation["responses"].pop("422", None)
            operation["responses"] |= _responses(path, method, guarded=key in schemes)
            if key in schemes:
                operation["security"] = [{key: []}]
    return page


def _responses(path: str, method: str, *, guarded: bool) -> dict[str, Any]:
    """Describe the errors of an operation."""
    api = shape_of(path)
    reasons: dict[str, str] = {} if path in OPEN_PATHS else dict(_OF_EVERY)
    if guarded:
        reasons |= _NO_KEY
    if "{model}" in path:
        reasons |= _NO_MODEL
    if method == "post":
        reasons |= _OF_BODIES
        reasons |= _CLOSED | {"503": _OF_RANKING["503"]} if path.startswith(ADMIN) else _OF_RANKING
        reasons |= _BACKEND if api == "tei" else {}
    schema = {"$ref": _REFERENCE.format(model=_name(api))}
    return {
        status: {"description": reason, "content": {"application/json": {"schema": schema}}}
        for status, reason in sorted(reasons.items())
    }


def _name(api: str) -> str:
    return "".join(part.capitalize() for part in api.split("_")) + "Error"
