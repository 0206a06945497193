"""The API of text-embeddings-inference: ``POST /rerank`` and ``GET /info``; ``GET /health`` is in `operations`.

Requests and answers have the shapes of its router (huggingface/text-embeddings-inference, router/src/http/types.rs).
Items with equal scores are in the order of the request, whereas the original server leaves their order open.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse

from onyxrank.errors import InvalidInput
from onyxrank.request.ranking import Ranking
from onyxrank.request.truncation import TEMPLATE_TOKENS
from onyxrank.serve.cohere import Documents, JinaAnswer, jina_answer, rank_documents
from onyxrank.serve.cohere import RerankRequest as DocumentsRequest
from onyxrank.serve.problems import Problem, answer
from onyxrank.serve.route import BodyRoute
from onyxrank.serve.service import service_of
from onyxrank.serve.values import COUNTED_ITEMS, Flag, Name
from onyxrank.serve.wording import TEXTS
from onyxrank.sessions.providers import PROVIDERS

router = APIRouter(tags=["text-embeddings-inference"], route_class=BodyRoute)


class RerankRequest(BaseModel):
    """A query and the texts to rank for it. Texts that are too long are always truncated.

    Servers such as vLLM, infinity and LocalAI have the same route with `documents` in place of `texts`, and answer
    in Jina's shape; so does this one.
    """

    query: str
    texts: Annotated[list[str], Field(fail_fast=True), COUNTED_ITEMS] | None = None
    truncate: Flag | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] = "right"
    raw_scores: Flag = False
    return_text: Flag = False
    documents: Documents | None = Field(None, description="In place of texts, with the fields below.")
    model: Name = ""
    top_n: Annotated[int, Field(ge=1, strict=True)] | None = None
    return_documents: Flag | None = None
    rank_fields: Annotated[list[str], Field(fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> RerankRequest:
        if (self.texts is None) == (self.documents is None):
            raise PydanticCustomError("one_of", "give texts or documents")
        return self


class Rank(BaseModel):
    """A text in its place."""

    index: int
    score: float
    text: str | None = None


@router.post("/rerank", response_model=list[Rank] | JinaAnswer)
@router.post("/invocations", response_model=list[Rank] | JinaAnswer, include_in_schema=False)
async def rerank(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank texts for a query, best first."""
    service = service_of(request)
    if body.documents is not None:
        asked = DocumentsRequest.model_construct(
            query=body.query,
            documents=body.documents,
            model=body.model,
            top_n=body.top_n,
            return_documents=body.return_documents,
            rank_fields=body.rank_fields,
        )
        return JSONResponse(jina_answer(await rank_documents(asked, request), asked))
    texts = body.texts or []
    if not texts:
        problem = Problem(status=400, kind="empty", message="`texts` cannot be empty", field="texts")
        return answer(problem, "/rerank")
    if not body.query and "" in texts:
        place = f"texts[{texts.index('')}]"
        raise InvalidInput(f"query and {place} are both empty; one of them must have some text", field=place)
    ranking, _ = await service.rank(body.query, texts, wording=TEXTS, blank=True)
    ranks = [
        {"index": hit.index, "score": hit.margin if body.raw_scores else hit.score}
        | ({"text": texts[hit.index]} if body.return_text else {})
        for hit in ranking
    ]
    return JSONResponse(ranks, headers=_times(ranking) | {"x-compute-type": _compute_type(service.provider)})


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
        "x-total-time": _ms(times.total),
        "x-tokenization-time": _ms(times.tokenize),
        "x-queue-time": _ms(times.queue),
        "x-inference-time": _ms(times.history + times.batch + times.run),
    }


def _compute_type(provider: str) -> str:
    """Name the kind of device that a provider runs on, as text-embeddings-inference does."""
    return "cpu+optimized" if PROVIDERS[provider].on_cpu else "gpu+optimized"


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


def _version() -> str:
    from onyxrank import __version__

    return __version__
