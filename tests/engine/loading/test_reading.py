"""Requests are admitted, charged and timed before they are tokenized."""

from __future__ import annotations

import asyncio
import threading

import pytest
from engine_fakes import fake_ranker

from onyxrank import DeadlineExceeded, Overloaded

LARGE = ["lamp " * 2000]
LIMIT = 3000


class Reading:
    """Holds every request of more than a few characters while it is tokenized, until it is let go."""

    def __init__(self, ranker, monkeypatch):
        with ranker._leases.lease() as engine:
            self.engine = engine
        self.begun, self.on = 0, threading.Event()
        self._encode = engine.encoder.encode
        engine.scheduler._queue.limit = LIMIT
        monkeypatch.setattr(engine.encoder, "encode", self._held)

    def _held(self, history, items):
        self.begun += 1
        assert self.on.wait(60)
        return self._encode(history, items)

    @property
    def tokens(self):
        return self.engine.scheduler.facts()["tokens"]


@pytest.fixture
def held(make_tokenizer, monkeypatch):
    with fake_ranker(make_tokenizer()) as ranker:
        reading = Reading(ranker, monkeypatch)
        try:
            yield ranker, reading
        finally:
            reading.on.set()


def test_requests_that_are_being_tokenized_count(held):
    """Of many large requests at once, those that find no room are refused before they are tokenized."""
    ranker, reading = held

    async def ask():
        asked = [asyncio.create_task(ranker.ascore("tent", LARGE)) for _ in range(20)]
        await asyncio.sleep(0)
        charged = reading.tokens
        reading.on.set()
        return charged, await asyncio.gather(*asked, return_exceptions=True)

    charged, answers = asyncio.run(ask())
    assert charged == LIMIT
    assert [type(answer) for answer in answers].count(Overloaded) == 18
    assert reading.begun == 2
    assert reading.tokens == 0


def test_a_deadline_passes_while_a_request_is_tokenized(held):
    ranker, reading = held

    async def ask():
        with pytest.raises(DeadlineExceeded):
            await ranker.arank("tent", LARGE, deadline=0.05)
        assert not reading.on.is_set()
        assert reading.tokens == 0
        reading.on.set()

    asyncio.run(ask())


def test_a_caller_who_leaves_while_its_request_is_tokenized_gives_its_room_back(held):
    ranker, reading = held

    async def ask():
        asked = asyncio.create_task(ranker.arank("tent", LARGE))
        await asyncio.sleep(0)
        assert reading.tokens > 0
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert reading.tokens == 0
        reading.on.set()

    asyncio.run(ask())


@pytest.mark.parametrize("call", ["score", "rank"])
def test_a_thread_asks_for_room_before_it_tokenizes(held, call):
    ranker, reading = held
    with reading.engine.scheduler.room(LIMIT), reading.engine.scheduler.room(LIMIT), pytest.raises(Overloaded):
        getattr(ranker, call)("tent", LARGE)
    assert reading.begun == 0
    reading.on.set()
    assert len(getattr(ranker, call)("tent", LARGE)) == 1
