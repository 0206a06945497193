"""The API of text-embeddings-inference: ``POST /rerank`` and ``GET /info``; ``GET /health`` is in `operations`.

Requests and answers have the shapes of its router (huggingface/text-embeddings-inference, router/src/http/types.rs).
Items with equal scores are in the order of the request, whereas the original server leaves their order open.
"""

from __future__ import annotations

import os
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from onyxrank.request.ranking import Ranking
from onyxrank.request.truncation import TEMPLATE_TOKENS
from onyxrank.serve.problems import Problem, answer
from onyxrank.serve.route import BodyRoute
from onyxrank.serve.service import service_of

router = APIRouter(tags=["text-embeddings-inference"], route_class=BodyRoute)


class RerankRequest(BaseModel):
    """A query and the texts to rank for it. Texts that are too long are always truncated."""

    query: str
    texts: list[str]
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] = "right"
    raw_scores: bool = False
    return_text: bool = False


class Rank(BaseModel):
    """A text in its place."""

    index: int
    score: float
    text: str | None = None


@router.post("/rerank", response_model=list[Rank])
@router.post("/invocations", response_model=list[Rank], include_in_schema=False)
async def rerank(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank texts for a query, best first."""
    if not body.texts:
        problem = Problem(status=400, kind="empty", message="`texts` cannot be empty", field="texts")
        return answer(problem, "/rerank")
    ranking = await service_of(request).rank(body.query, body.texts, called="texts")
    ranks = [
        {"index": hit.index, "score": hit.margin if body.raw_scores else hit.score}
        | ({"text": body.texts[hit.index]} if body.return_text else {})
        for hit in ranking
    ]
    return JSONResponse(ranks, headers=_times(ranking))


@router.get("/info")
async def info(request: Request) -> dict[str, Any]:
    """Return facts about the server and its model, as text-embeddings-inference does."""
    service = service_of(request)
    facts = service.loaded().info()
    longest = facts["limits"]["history_tokens"] + facts["limits"]["item_tokens"] + TEMPLATE_TOKENS
    return {
        "model_id": service.name,
        "model_sha": None,
        "model_dtype": facts["precision"],
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_concurrent_requests": facts["queue"]["limit_tokens"] // longest,
        "max_input_length": longest,
        "max_batch_tokens": facts["micro_batch_tokens"],
        "max_batch_requests": None,
        "max_client_batch_size": service.settings.max_items,
        "auto_truncate": True,
        "tokenization_workers": max(2, os.cpu_count() or 2),
        "version": _version(),
        "sha": None,
        "docker_label": None,
    }


def _times(ranking: Ranking) -> dict[str, str]:
    """Return the times of a ranking in milliseconds, as headers."""
    times = ranking.timings
    return {
        "x-compute-type": "cpu+optimized",
        "x-total-time": _ms(times.total),
        "x-tokenization-time": _ms(times.tokenize),
        "x-queue-time": _ms(times.queue),
        "x-inference-time": _ms(times.history + times.batch + times.run),
    }


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


def _version() -> str:
    from onyxrank import __version__

    return __version__
