"""What clients of Cohere and Jina send: ``POST /v2/rerank``, and ``POST /v1/rerank``, a path that both use.

Cohere: its API reference, rerank v1 and v2. Jina: its reranker API. On the shared path a model whose name begins with
``jina`` is answered in Jina's shape; ``/jina/v1/rerank`` always is.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from onyxrank.errors import InvalidInput
from onyxrank.request.items import Item
from onyxrank.request.ranking import Ranking
from onyxrank.serve.route import BodyRoute
from onyxrank.serve.service import service_of

router = APIRouter(tags=["cohere and jina"], route_class=BodyRoute)
Document = str | dict[str, Any]


class RerankRequest(BaseModel):
    """A query and documents to rank for it."""

    query: str
    documents: list[Document]
    model: str = ""
    top_n: Annotated[int, Field(ge=1, strict=True)] | None = None
    return_documents: bool | None = None
    rank_fields: list[str] | None = None


@router.post("/v2/rerank")
async def rerank_v2(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank documents as Cohere's API v2 does."""
    return JSONResponse(_cohere(await _rank(body, request), body, version="2"))


@router.post("/v1/rerank")
async def rerank_v1(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank documents as Cohere's API v1 does, or Jina's."""
    ranking = await _rank(body, request)
    if body.model.lower().startswith("jina"):
        return JSONResponse(_jina(ranking, body))
    return JSONResponse(_cohere(ranking, body, version="1"))


@router.post("/jina/v1/rerank")
async def rerank_jina(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank documents as Jina's API does."""
    return JSONResponse(_jina(await _rank(body, request), body))


async def _rank(body: RerankRequest, request: Request) -> Ranking:
    items = [_item(index, document, body.rank_fields) for index, document in enumerate(body.documents)]
    return await service_of(request).rank(body.query, items, body.top_n, called="documents")


def _cohere(ranking: Ranking, body: RerankRequest, version: str) -> dict[str, Any]:
    results: list[dict[str, Any]] = [{"index": hit.index, "relevance_score": hit.score} for hit in ranking]
    if body.return_documents:
        for result in results:
            document = body.documents[result["index"]]
            result["document"] = {"text": document} if isinstance(document, str) else document
    # One search unit is a query with up to 100 documents; there is nobody to pay.
    meta = {"api_version": {"version": version}, "billed_units": {"search_units": 0}}
    return {"id": str(uuid.uuid4()), "results": results, "meta": meta}


def _jina(ranking: Ranking, body: RerankRequest) -> dict[str, Any]:
    results: list[dict[str, Any]] = [{"index": hit.index, "relevance_score": hit.score} for hit in ranking]
    if body.return_documents is not False:
        for result in results:
            document = body.documents[result["index"]]
            result["document"] = {"text": document} if isinstance(document, str) else document
    return {
        "model": body.model,
        "object": "list",
        "usage": {"total_tokens": ranking.tokens, "prompt_tokens": ranking.tokens},
        "results": results,
    }


def _item(index: int, document: Document, fields: Sequence[str] | None) -> Item:
    """A document's first field as the title, the others as the description; of a plain one the text."""
    if isinstance(document, str):
        return Item(str(index), document)
    names = fields or (["text"] if "text" in document else list(document))
    texts = []
    for name in names:
        if name not in document:
            raise InvalidInput(f"documents[{index}] has no field of rank_fields", field="documents", index=index)
        if not isinstance(document[name], str):
            raise InvalidInput(f"documents[{index}]: fields must be strings", field="documents", index=index)
        texts.append(document[name])
    return Item(str(index), texts[0] if texts else "", "\n".join(texts[1:]))
