"""A ranker inside a FastAPI service: one for the process, shared by its threads.

    python examples/fastapi_app.py --port 8000

POST a body such as ``{"history": ["tent pegs"], "items": [{"id": "a", "title": "camping stove"}]}`` to /rank.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import demo_shop
from onyxrank import InvalidInput, Ranker


class Candidate(BaseModel):
    """An item to rank."""

    id: str
    title: str
    description: str = ""


class RankRequest(BaseModel):
    """A shopper, and what to rank for them."""

    history: list[str] = []
    items: list[Candidate]
    top_k: int | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the bundle before the first request and close it after the last."""
    with Ranker.load(demo_shop.bundle()) as ranker:
        app.state.ranker = ranker
        yield


app = FastAPI(title="onyxrank", lifespan=lifespan)


@app.post("/rank")
def rank(body: RankRequest, request: Request) -> list[dict[str, Any]]:
    """Rank items, best first. No ``async``: FastAPI then runs it in a thread, and the event loop stays free."""
    ranker: Ranker = request.app.state.ranker
    return ranker.rank(body.history, [item.model_dump() for item in body.items], body.top_k).as_records()


@app.get("/health")
def health(request: Request) -> dict[str, Any]:
    """What is loaded and what it runs on."""
    return request.app.state.ranker.info()


@app.exception_handler(InvalidInput)
def invalid(request: Request, error: InvalidInput) -> JSONResponse:
    """Tell the caller which item and field; the message never holds a text of theirs."""
    return JSONResponse({"detail": str(error), "index": error.index, "field": error.field}, status_code=422)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port)
