"""The rerank APIs of Cohere (versions 1 and 2) and of Jina, in the shapes of their API references.

Both use the path ``/v1/rerank``. There a request whose model begins with ``jina`` is answered in Jina's shape, and
any other in Cohere's. ``/v2/rerank`` is always Cohere's, and ``/jina/v1/rerank`` is always Jina's.
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
    """A query and the documents to rank for it."""

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
    # Cohere bills a search unit for a query with up to 100 documents; here there is nobody to pay.
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
    """Make an item of a document.

    A string is the item's title. Of an object the first field is the title and the others are the description. The
    fields are those that the request names, or else ``text``, or else all.
    """
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
