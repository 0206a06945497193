"""The page for people at ``/``, and the routes that its script asks.

Everything that is asked comes in bodies, even searches of the catalogue. A proxy's log keeps paths, and nothing that
a shopper typed or bought belongs there.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from onyxrank.errors import InvalidInput
from onyxrank.request.items import Item
from onyxrank.request.ranking import Ranking
from onyxrank.serve.assets import ASSETS, POLICY
from onyxrank.serve.catalogue import Catalogue
from onyxrank.serve.route import BodyRoute
from onyxrank.serve.service import service_of
from onyxrank.serve.values import COUNTED_EVENTS, COUNTED_ITEMS

router = APIRouter(tags=["page"], route_class=BodyRoute)
MOST_CANDIDATES = 1000
"""Most items of the catalogue that one request of the page ranks; the page waits for the answer."""
_MOST_FOUND = 50
"""Most items that one search returns."""
_EXAMPLES = 4
"""Items of the catalogue that the page offers as a first history."""
_LONGEST_SHOWN = 240
"""Characters of a text that the page shows; longer texts are cut."""
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_PRIVATE = _HEADERS | {"cache-control": "no-store"}
"""Headers of answers with data, which no cache may keep."""


class Search(BaseModel):
    """Words that the titles of items in the catalogue must hold, and which part of the found items to return."""

    model_config = ConfigDict(extra="forbid")

    search: Annotated[str, Field(max_length=1000)] = ""
    offset: Annotated[int, Field(ge=0, strict=True)] = 0
    limit: Annotated[int, Field(ge=1, le=_MOST_FOUND, strict=True)] = 20


class PageRequest(BaseModel):
    """A query or a history, and what to rank for it: items of the catalogue, or titles of the user's own."""

    model_config = ConfigDict(extra="forbid")

    query: str | None = None
    history: Annotated[list[StrictInt | StrictStr], Field(fail_fast=True), COUNTED_EVENTS] | None = Field(
        None, description="Oldest first: positions in the catalogue, or texts."
    )
    titles: Annotated[list[str], Field(fail_fast=True), COUNTED_ITEMS] | None = Field(
        None, description="Items to rank in place of the catalogue's."
    )
    within: Annotated[str, Field(max_length=1000)] = Field("", description="Words that titles must hold.")
    most: Annotated[int, Field(ge=1, le=MOST_CANDIDATES, strict=True)] = Field(100, description="Candidates.")

    @model_validator(mode="after")
    def _one_of_both(self) -> PageRequest:
        if (self.query is None) == (self.history is None):
            raise PydanticCustomError("one_of", "give a history or a query")
        return self


@router.get("/page/facts")
async def facts(request: Request) -> JSONResponse:
    """Return what the page says about the model and the catalogue."""
    service, catalogue = service_of(request), catalogue_of(request)
    info = service.loaded().info()
    step = max(1, len(catalogue) // _EXAMPLES)
    return JSONResponse(
        {
            "model": service.name,
            **{key: info[key] for key in ("architecture", "variant", "provider", "threads")},
            "catalogue": len(catalogue),
            "most_candidates": min(MOST_CANDIDATES, service.settings.max_items),
            "examples": [_found(catalogue, position) for position in range(0, len(catalogue), step)][:_EXAMPLES],
        },
        headers=_PRIVATE,
    )


@router.post("/page/catalogue")
async def find(body: Search, request: Request) -> JSONResponse:
    """Find items of the catalogue by their title."""
    catalogue = catalogue_of(request)
    positions = await asyncio.to_thread(catalogue.matching, body.search)
    shown = positions[body.offset : body.offset + body.limit]
    return JSONResponse(
        {"total": len(positions), "items": [_found(catalogue, position) for position in shown]}, headers=_PRIVATE
    )


@router.post("/page/rank")
async def rank(body: PageRequest, request: Request) -> JSONResponse:
    """Rank candidates of the catalogue, or the titles given, and say how they were chosen."""
    service, catalogue = service_of(request), catalogue_of(request)
    asked = body.query if body.history is None else _texts(body.history, catalogue)
    picked: dict[str, Any]
    if body.titles is None:
        texts = [asked] if isinstance(asked, str) else asked or []
        most = min(body.most, service.settings.max_items)
        candidates = await asyncio.to_thread(catalogue.candidates, texts, body.within, most)
        items = [catalogue.items[position] for position in candidates.positions]
        keys = list(candidates.positions)
        picked = {"from": "catalogue", "matching": candidates.matching, "related": candidates.related}
    else:
        items = [Item(str(index), title) for index, title in enumerate(body.titles)]
        keys = list(range(len(items)))
        picked = {"from": "titles", "matching": len(items), "related": 0}
    ranking, _ = await service.rank(asked or [], items)
    return JSONResponse(_answer(ranking, keys, picked), headers=_PRIVATE)


# This route comes last, since it would match the paths of the others.
@router.get("/", include_in_schema=False)
@router.get("/page/{name}", include_in_schema=False)
async def asset(request: Request) -> Response:
    """Return a file of the page."""
    found = ASSETS.get(request.url.path)
    if found is None:
        raise HTTPException(404, "the page has no such file")
    headers = _HEADERS | {"content-security-policy": POLICY, "cache-control": "no-cache", "etag": found.tag}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


def catalogue_of(request: Request) -> Catalogue:
    """Return the catalogue of the server that a request came to."""
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


def _texts(history: list[int | str], catalogue: Catalogue) -> list[str]:
    texts = []
    for index, event in enumerate(history):
        if isinstance(event, str):
            texts.append(event)
        elif 0 <= event < len(catalogue):
            texts.append(catalogue.items[event].title)
        else:
            raise InvalidInput(f"history[{index}] is no item of the catalogue", field="history", index=index)
    return texts


def _answer(ranking: Ranking, keys: list[int], picked: dict[str, Any]) -> dict[str, Any]:
    cuts, times = ranking.cuts, ranking.timings
    return {
        "results": [
            {
                "key": keys[hit.index],
                "score": hit.score,
                "title": _shortened(hit.item.title),
                "description": _shortened(hit.item.description),
            }
            for hit in ranking
        ],
        "picked": picked,
        "tokens": ranking.tokens,
        "cold_start": ranking.cold_start,
        "truncated": {"history": cuts.history_events, "titles": cuts.titles, "descriptions": cuts.descriptions},
        "engine_ms": round(times.total * 1000, 3),
        "stages_ms": {stage: round(seconds * 1000, 3) for stage, seconds in times.as_record().items()},
    }


def _found(catalogue: Catalogue, position: int) -> dict[str, Any]:
    return {"key": position, "title": _shortened(catalogue.items[position].title)}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1].rstrip() + "…"
