"""What went wrong, as an answer: which status, and the error body of the API that the client speaks.

No answer quotes a text of the request: messages name places (``items[3].title``), and what validation found there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

from onyxrank.errors import (
    BundleError,
    DeadlineExceeded,
    InvalidInput,
    NonFiniteScore,
    OnyxrankError,
    Overloaded,
    ProviderUnavailable,
)
from onyxrank.request.items import place_of

_UNKNOWN_WAIT_S = 1.0
_MOST_FAULTS = 10
_NAME = re.compile("[a-z_]+")
_KINDS = frozenset({"str", "int", "float"})
"""With other names of types, these stand in the place of a fault where a value may be of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error of a request.

    Attributes:
        status: HTTP status.
        kind: short name, stable across versions.
        message: one line for people.
        field: place of the fault in the request; empty if it is nowhere in it.
        retry_after_s: when to try again; None if that is of no use.

    """

    status: int
    kind: str
    message: str
    field: str = ""
    retry_after_s: float | None = None


def problem_of(error: Exception) -> Problem:
    """The problem that an error of the engine is; any other is the server's own."""
    if isinstance(error, InvalidInput):
        return Problem(status=422, kind="invalid_input", message=str(error), field=place_of(error.field, error.index))
    if isinstance(error, Overloaded):
        wait = _UNKNOWN_WAIT_S if error.retry_after_s is None else error.retry_after_s
        return Problem(status=429, kind="overloaded", message="no room now; try again later", retry_after_s=wait)
    if isinstance(error, DeadlineExceeded):
        return Problem(status=504, kind="deadline_exceeded", message=str(error))
    if isinstance(error, NonFiniteScore):
        return Problem(status=500, kind="non_finite_score", message=str(error))
    if isinstance(error, BundleError):
        return Problem(status=422, kind="bundle_error", message=str(error), field="bundle")
    if isinstance(error, ProviderUnavailable):
        return Problem(status=503, kind="provider_unavailable", message=str(error))
    if isinstance(error, OnyxrankError):
        return Problem(status=503, kind="unavailable", message="the model does not answer now")
    return Problem(status=500, kind="internal", message="an error of the server; its log has the request id")


def problem_of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The problem of a body that does not have the shape it should: every fault, none of the values."""
    if any(error["type"] == "json_invalid" for error in errors):
        return Problem(status=400, kind="malformed", message="the body is not JSON", field="body")
    faults = dict.fromkeys((_place(error["loc"]), str(error["msg"])) for error in errors)
    shown = list(faults)[:_MOST_FAULTS]
    return Problem(
        status=422,
        kind="invalid_input",
        message="; ".join(f"{place}: {reason}" for place, reason in shown),
        field=shown[0][0],
    )


def _place(location: Sequence[int | str]) -> str:
    place = ""
    for part in location[1:]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif _NAME.fullmatch(part) and part not in _KINDS:
            place += f".{part}" if place else part
    return place or "body"


def _own(problem: Problem) -> Any:
    return {"error": {"type": problem.kind, "message": problem.message, "field": problem.field}}


_TEI_TYPES = {"overloaded": "Overloaded", "invalid_input": "Validation", "malformed": "Validation", "empty": "Empty"}


def _tei(problem: Problem) -> Any:
    return {"error": problem.message, "error_type": _TEI_TYPES.get(problem.kind, "Backend")}


def _cohere(problem: Problem) -> Any:
    return {"message": problem.message}


def _jina(problem: Problem) -> Any:
    return {"detail": problem.message}


def _open_inference(problem: Problem) -> Any:
    return {"error": problem.message}


_SHAPES: Mapping[str, Callable[[Problem], Any]] = {
    "/rerank": _tei,
    "/invocations": _tei,
    "/v1/rerank": _cohere,
    "/v2/rerank": _cohere,
    "/jina/v1/rerank": _jina,
    "/v2": _open_inference,
}


def answer(problem: Problem, path: str) -> JSONResponse:
    """The response, in the shape of the API that the path belongs to."""
    shape = _SHAPES.get(path) or (_open_inference if path.startswith("/v2/") else _own)
    headers = {}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(problem.retry_after_s)))
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(shape(problem), problem.status, headers)
