"""The rerank APIs of Cohere (versions 1 and 2) and of Jina, in the shapes of their API references.

Both use the path ``/v1/rerank``. There a request whose model begins with ``jina`` is answered in Jina's shape, and
any other in Cohere's. ``/v2/rerank`` is always Cohere's, and ``/jina/v1/rerank`` is always Jina's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from onyxrank.errors import InvalidInput
from onyxrank.request.items import Item
from onyxrank.request.ranking import Ranking
from onyxrank.serve.route import BodyRoute
from onyxrank.serve.service import service_of
from onyxrank.serve.values import COUNTED_ITEMS, Flag, Name
from onyxrank.serve.wording import DOCUMENTS

router = APIRouter(tags=["cohere and jina"], route_class=BodyRoute)
Document = str | dict[str, Any]
Documents = Annotated[list[Document], Field(fail_fast=True), COUNTED_ITEMS]


class RerankRequest(BaseModel):
    """A query and the documents to rank for it."""

    query: str
    documents: Documents
    model: Name = ""
    top_n: Annotated[int, Field(ge=1, strict=True)] | None = None
    return_documents: Flag | None = None
    rank_fields: Annotated[list[str], Field(fail_fast=True)] | None = None


class Result(BaseModel):
    """A document in its place."""

    index: int
    relevance_score: float
    document: dict[str, Any] | None = Field(None, description="If it was asked for; that of a string has `text`.")


class Usage(BaseModel):
    """Tokens that the model read."""

    total_tokens: int
    prompt_tokens: int


class CohereAnswer(BaseModel):
    """The documents, best first, as Cohere answers."""

    id: str
    results: list[Result]
    meta: dict[str, Any]
    usage: Usage


class JinaAnswer(BaseModel):
    """The documents, best first, as Jina answers."""

    model: str
    object: str
    usage: Usage
    results: list[Result]


@router.post("/v2/rerank", response_model=CohereAnswer)
async def rerank_v2(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank documents as Cohere's API v2 does."""
    return JSONResponse(_cohere(await rank_documents(body, request, all_blank=False), body, version="2"))


@router.post("/v1/rerank", response_model=CohereAnswer | JinaAnswer)
async def rerank_v1(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank documents as Cohere's API v1 does, or Jina's."""
    if body.model.lower().startswith("jina"):
        return JSONResponse(jina_answer(await rank_documents(body, request), body))
    return JSONResponse(_cohere(await rank_documents(body, request, all_blank=False), body, version="1"))


@router.post("/jina/v1/rerank", response_model=JinaAnswer)
async def rerank_jina(body: RerankRequest, request: Request) -> JSONResponse:
    """Rank documents as Jina's API does."""
    return JSONResponse(jina_answer(await rank_documents(body, request), body))


async def rank_documents(body: RerankRequest, request: Request, *, all_blank: bool = True) -> Ranking:
    """Rank the documents of a request; those without a text come last.

    Args:
        body: the request.
        request: the request as it came.
        all_blank: whether all documents may be without a text.

    Raises:
        InvalidInput: if a document cannot be ranked, or could not be returned; it names the document.
        OnyxrankError: if `Service.rank` raises it.

    """
    items = [_item(index, document, body.rank_fields) for index, document in enumerate(body.documents)]
    if items and not all_blank and not any(item.title.strip() or item.description.strip() for item in items):
        raise InvalidInput("documents have no text: every one of them is blank", field="documents")
    ranking, _ = await service_of(request).rank(body.query, items, body.top_n, wording=DOCUMENTS, blank=True)
    return ranking


def jina_answer(ranking: Ranking, body: RerankRequest) -> dict[str, Any]:
    """Make Jina's answer. Its documents come back unless the request says otherwise."""
    return {
        "model": body.model,
        "object": "list",
        "usage": _usage(ranking),
        "results": _results(ranking, body, documents=body.return_documents is not False),
    }


def _cohere(ranking: Ranking, body: RerankRequest, version: str) -> dict[str, Any]:
    meta = {
        "api_version": {"version": version},
        # Cohere bills a search unit for a query with up to 100 documents; here there is nobody to pay.
        "billed_units": {"search_units": 0},
        "tokens": {"input_tokens": ranking.tokens, "output_tokens": 0},
    }
    results = _results(ranking, body, documents=bool(body.return_documents))
    # Clients of several servers look for the tokens where Jina and OpenAI have them.
    return {"id": str(uuid.uuid4()), "results": results, "meta": meta, "usage": _usage(ranking)}


def _usage(ranking: Ranking) -> dict[str, int]:
    return {"total_tokens": ranking.tokens, "prompt_tokens": ranking.tokens}


def _results(ranking: Ranking, body: RerankRequest, *, documents: bool) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [{"index": hit.index, "relevance_score": hit.score} for hit in ranking]
    if documents:
        for result in results:
            document = body.documents[result["index"]]
            result["document"] = {"text": document} if isinstance(document, str) else document
    return results


def _item(index: int, document: Document, fields: Sequence[str] | None) -> Item:
    """Make an item of a document.

    A string is the item's title. Of an object the first field is the title and the others are the description. The
    fields are those that the request names, or else ``text``, or else all.
    """
    if isinstance(document, str):
        return Item(str(index), document)
    _check_returnable(index, document)
    names = fields or (["text"] if "text" in document else list(document))
    texts = []
    for name in names:
        if name not in document:
            raise InvalidInput(f"documents[{index}] has no field of rank_fields", field=f"documents[{index}]")
        if not isinstance(document[name], str):
            raise InvalidInput(f"documents[{index}]: fields must be strings", field=f"documents[{index}]")
        texts.append(document[name])
    return Item(str(index), texts[0] if texts else "", "\n".join(texts[1:]))


def _check_returnable(index: int, document: Mapping[str, Any]) -> None:
    """Refuse a document that could not be returned: Python reads some JSON that it then cannot write."""
    try:
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidInput(
            f"documents[{index}] has a field that JSON cannot carry back: a number that is not finite, a lone "
            "surrogate, or values nested too deeply",
            field=f"documents[{index}]",
        ) from None
