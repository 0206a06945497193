"""The engine's own API: ``POST /v1/rank``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse

from onyxrank.request.items import FIELD_NAMES, Item
from onyxrank.serve.route import BodyRoute
from onyxrank.serve.service import service_of
from onyxrank.serve.values import COUNTED_EVENTS, COUNTED_ITEMS
from onyxrank.serve.wording import NATIVE, QUERY

router = APIRouter(tags=["onyxrank"], route_class=BodyRoute)


def _names(field: str) -> AliasChoices:
    """Return the names that the engine accepts for an item's field. This API's own comes first, and errors use it."""
    return AliasChoices(*sorted(FIELD_NAMES[field], key=len))


class RankItem(BaseModel):
    """An item to rank."""

    model_config = ConfigDict(extra="forbid")

    id: str | int | None = Field(
        None, validation_alias=_names("id"), description="Comes back in the answer; by default its position."
    )
    title: str = Field(validation_alias=_names("title"))
    description: str = Field("", validation_alias=_names("description"))


def _of_title(item: Any) -> Any:
    return {"title": item} if isinstance(item, str) else item


_ItemOrTitle = Annotated[RankItem, BeforeValidator(_of_title)]


class RankRequest(BaseModel):
    """A shopper's history, or a search query, and the items to rank for it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "history": ["2-person tunnel tent, green", "steel tent pegs, set of 12"],
                    "items": [
                        {"id": "b1", "title": "Compact gas camping stove", "description": "Boils a litre fast."},
                        {"id": "b2", "title": "Desk lamp with dimmer"},
                    ],
                    "top_k": 10,
                    "deadline_ms": 500,
                }
            ]
        },
    )

    history: str | Annotated[list[str], Field(fail_fast=True), COUNTED_EVENTS] | None = Field(
        None, description="What the shopper did, oldest first; empty at first."
    )
    query: str | None = Field(None, description="A search query, in place of a history.")
    items: Annotated[list[_ItemOrTitle], Field(fail_fast=True), COUNTED_ITEMS] = Field(
        description="Candidates, or their titles."
    )
    top_k: Annotated[int, Field(ge=1, strict=True)] | None = None
    deadline_ms: Annotated[float, Field(gt=0, allow_inf_nan=False, le=86_400_000, strict=True)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> RankRequest:
        if (self.history is None) == (self.query is None):
            raise PydanticCustomError("one_of", "give a history or a query")
        return self


class Result(BaseModel):
    """An item in its place."""

    rank: int
    index: int = Field(description="Position in the request, from 0.")
    id: str
    score: float = Field(description="Purchase probability.")


class Truncated(BaseModel):
    """Numbers of texts that did not fit the model's token limits."""

    history_events: int
    titles: int
    descriptions: int


class RankAnswer(BaseModel):
    """The items, best first; items with equal scores are in the order of the request."""

    model: str
    results: list[Result]
    total: int
    tokens: int = Field(description="Read by the model: of the history, and of every item.")
    cold_start: bool
    truncated: Truncated
    timings_ms: dict[str, float]


@router.post("/v1/rank", response_model=RankAnswer)
async def rank(body: RankRequest, request: Request) -> JSONResponse:
    """Rank items for a history or a query."""
    service = service_of(request)
    items = [
        Item(str(index if item.id is None else item.id), item.title, item.description)
        for index, item in enumerate(body.items)
    ]
    history, wording = (body.query, QUERY) if body.history is None else (body.history, NATIVE)
    deadline_s = None if body.deadline_ms is None else body.deadline_ms / 1000
    ranking, model = await service.rank(history or [], items, body.top_k, deadline_s, wording)
    return JSONResponse(
        {
            "model": model,
            "results": [{"rank": hit.rank, "index": hit.index, "id": hit.id, "score": hit.score} for hit in ranking],
            "total": ranking.total,
            "tokens": ranking.tokens,
            "cold_start": ranking.cold_start,
            "truncated": {
                "history_events": ranking.cuts.history_events,
                "titles": ranking.cuts.titles,
                "descriptions": ranking.cuts.descriptions,
            },
            "timings_ms": _milliseconds(ranking.timings.as_record()),
        }
    )


def _milliseconds(stages: dict[str, float]) -> dict[str, Any]:
    return {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()}
