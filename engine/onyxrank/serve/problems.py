"""Turns errors into answers: an HTTP status and an error body in the shape of the API that the client uses.

No answer quotes a text of the request. Messages name places (``items[3].title``) and say what validation found there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
"""Seconds after which to try again while the engine does not know yet how fast it is."""
_MOST_FAULTS = 10
"""Most faults of a body that an answer names."""
_FIELD_NAME = re.compile("[a-z_]+")
_TYPE_NAMES = frozenset({"str", "int", "float"})
"""Names of types that pydantic adds to the place of a fault if a value may be of several types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong with a request.

    Attributes:
        status: HTTP status of the answer.
        kind: short name of the problem, which stays the same across versions.
        message: one line for people.
        field: place of the fault in the request; empty if the request has no fault.
        retry_after_s: seconds after which to try again, or None if that is of no use.
        of_shape: whether the body has not the API's shape, so that its values were not looked at.

    """

    status: int
    kind: str
    message: str
    field: str = ""
    retry_after_s: float | None = None
    of_shape: bool = False


def problem_of(error: Exception) -> Problem:
    """Say which problem an error is. An error that the engine did not raise on purpose is the server's own fault."""
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
    """Sum up what is wrong with the shape of a body: the faults that pydantic found, without the values."""
    if any(error["type"] == "json_invalid" for error in errors):
        return Problem(status=400, kind="malformed", message="the body is not JSON", field="body")
    faults = dict.fromkeys((place_in_body(error["loc"]), str(error["msg"])) for error in errors)
    shown = list(faults)[:_MOST_FAULTS]
    return Problem(
        status=422,
        kind="invalid_input",
        message="; ".join(f"{place}: {reason}" for place, reason in shown),
        field=shown[0][0],
        of_shape=True,
    )


def place_in_body(location: Sequence[int | str]) -> str:
    """Write pydantic's location of a fault, whose first part is ``body``, as a place such as ``items[3].id``."""
    place = ""
    for part in location[1:]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif _FIELD_NAME.fullmatch(part) and part not in _TYPE_NAMES:
            place += f".{part}" if place else part
    return place or "body"


def _onyxrank(problem: Problem) -> Any:
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


_TEI_BACKEND = 424
"""Status of text-embeddings-inference for a model that fails."""
_TEI_STATUSES = {"non_finite_score": _TEI_BACKEND, "unavailable": _TEI_BACKEND, "provider_unavailable": _TEI_BACKEND}


def _tei_status(problem: Problem) -> int:
    """Return the status that text-embeddings-inference has for a problem, which is 413 for all that it validates."""
    if problem.kind == "invalid_input" and not problem.of_shape:
        return 413
    return _TEI_STATUSES.get(problem.kind, problem.status)


_SHAPES: Mapping[str, Callable[[Problem], Any]] = {
    "onyxrank": _onyxrank,
    "tei": _tei,
    "cohere": _cohere,
    "jina": _jina,
    "open_inference": _open_inference,
}
"""Functions that make the error body, by the name of the API."""
_APIS = {
    "/rerank": "tei",
    "/invocations": "tei",
    "/info": "tei",
    "/v1/rerank": "cohere",
    "/v2/rerank": "cohere",
    "/jina/v1/rerank": "jina",
    "/v2": "open_inference",
}
"""The API of each path; paths below ``/v2/`` are of Open Inference, and others are the engine's own."""


def shape_of(path: str) -> str:
    """Name the API that a path belongs to, in whose shape its errors are."""
    return _APIS.get(path) or ("open_inference" if path.startswith("/v2/") else "onyxrank")


def answer(problem: Problem, path: str) -> JSONResponse:
    """Make the response for a problem, in the shape of the API that the path belongs to."""
    api = shape_of(path)
    headers = {}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(problem.retry_after_s)))
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    status = _tei_status(problem) if api == "tei" else problem.status
    # A path that was asked for may hold what UTF-8 cannot carry.
    problem = replace(problem, message=problem.message.encode(errors="replace").decode())
    return JSONResponse(_SHAPES[api](problem), status, headers)
