"""What all routes of a worker share: the ranker, the limits on requests, and the metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from starlette.requests import Request

from onyxrank.errors import InvalidInput, NonFiniteScore
from onyxrank.ranker import Ranker
from onyxrank.request.blanks import WithBlanks
from onyxrank.request.encoding import UnreadableTitles
from onyxrank.request.items import Item, place_of
from onyxrank.request.ranking import Ranking
from onyxrank.serve import logs, tracing
from onyxrank.serve.metrics import Metrics
from onyxrank.serve.settings import ServeSettings
from onyxrank.serve.wording import NATIVE, Wording

_REFRESH_EVERY_S = 1.0
"""Seconds between two looks at the engine's figures, where several workers report for each other."""
ItemsOrTitles = Sequence[Item | str]
"""The items of a request; a string is an item's title."""


class Ranked(NamedTuple):
    """A ranking, and the name of the model that it is from, which a reload may have replaced meanwhile."""

    ranking: Ranking
    model: str


@dataclass(slots=True)
class Service:
    """The model of one worker, with the limits of the server around it.

    Attributes:
        settings: settings of the server.
        metrics: what counts the rankings.
        ranker: the loaded model, or None before it is loaded.
        name: name of the model, as answers give it.
        provider: name of the execution provider that it runs on.

    """

    settings: ServeSettings
    metrics: Metrics
    ranker: Ranker | None = None
    name: str = ""
    provider: str = "cpu"

    async def rank(
        self,
        history: str | Sequence[str],
        items: ItemsOrTitles,
        top_k: int | None = None,
        deadline_s: float | None = None,
        wording: Wording = NATIVE,
        blank: bool = False,
    ) -> Ranked:
        """Rank items within the limits of the server.

        Args:
            history: what the shopper did, as `Ranker.rank` takes it.
            items: the items, as `Ranker.rank` takes them.
            top_k: most items to return, or None for all.
            deadline_s: seconds from now within which to answer, or None for the server's default.
            wording: what the client's API calls the parts of the request; errors use these names.
            blank: whether items may be without a text; they come last, see `WithBlanks`.

        Raises:
            InvalidInput: if there are too many items, or a text is too long.
            OnyxrankError: if `Ranker.arank` raises it.

        """
        settings = self.settings
        try:
            if len(items) > settings.max_items:
                raise InvalidInput(
                    f"items: {len(items)} are more than the {settings.max_items} allowed", field="items"
                )
            self._check_texts(history, items)
            deadline_s = deadline_s or settings.timeout_s
            if blank:
                ranked = await self._rank_with_blanks(history, items, top_k, deadline_s)
            else:
                ranked = await self._rank(history, items, top_k, deadline_s)
        except (InvalidInput, NonFiniteScore) as error:
            raise wording.worded(error) from error
        # Counting waits for the next turn of the event loop, so that the answer goes out first.
        asyncio.get_running_loop().call_soon(self.metrics.ranking, ranked.ranking)
        tracing.record_ranking(ranked.ranking)
        return ranked

    async def _rank(
        self, history: str | Sequence[str], items: ItemsOrTitles, top_k: int | None, deadline_s: float
    ) -> Ranked:
        # `arank` takes its engine before it waits for anything, so that no reload comes between it and the name.
        name = self.name
        return Ranked(await self.loaded().arank(history, items, top_k, deadline=deadline_s), name)

    async def _rank_with_blanks(
        self, history: str | Sequence[str], items: ItemsOrTitles, top_k: int | None, deadline_s: float
    ) -> Ranked:
        due = time.monotonic() + deadline_s
        listed = WithBlanks(items)
        while True:
            try:
                left = due - time.monotonic()
                ranked = await self._rank(history, listed.readable, top_k, left)
                return Ranked(listed.ranking(ranked.ranking, top_k), ranked.model)
            except UnreadableTitles as error:
                listed.set_apart(error)
            except (InvalidInput, NonFiniteScore) as error:
                raise listed.placed(error) from error

    def loaded(self) -> Ranker:
        """Return the loaded ranker.

        Raises:
            RuntimeError: if no model is loaded yet. The server takes requests only after that.

        """
        if self.ranker is None:
            raise RuntimeError("no model is loaded")
        return self.ranker

    async def load(self, bundle: str) -> Ranker:
        """Load a bundle as the settings say, beside the model that is served."""
        return await asyncio.to_thread(Ranker.load, bundle, **asdict(self.settings.load))

    async def replace(self, fresh: Ranker, name: str) -> dict[str, Any]:
        """Serve another model from now on and return its `info`, once the model before has given its last answer."""
        before = self.loaded()
        info = self.use(fresh, name)
        logs.log("reloaded", model=name)
        await asyncio.to_thread(before.close)
        return info

    async def refresh(self) -> None:
        """Take over the engine's own figures again and again, so that they are right whichever worker is scraped.

        It goes on until it is cancelled. A turn that fails is logged, and the next is tried.
        """
        while True:
            await asyncio.sleep(_REFRESH_EVERY_S)
            try:
                self.metrics.update(self.loaded().info())
            except Exception as error:
                logs.log("metrics failed", logging.ERROR, **logs.of_exception(error))

    def use(self, ranker: Ranker, name: str) -> dict[str, Any]:
        """Serve a loaded model from now on and return its `info`. Only the event loop's thread may call it."""
        self.ranker, self.name = ranker, name
        info = ranker.info()
        self.provider = info["provider"]
        self.metrics.model(name, info)
        return info

    def _check_texts(self, history: str | Sequence[str], items: ItemsOrTitles) -> None:
        most = self.settings.max_text_chars
        if isinstance(history, str):
            if len(history) > most:
                raise _too_long("history", None, most)
        else:
            for index, text in enumerate(history):
                if len(text) > most:
                    raise _too_long("history", index, most)
        for index, item in enumerate(items):
            for field in ("title",) if isinstance(item, str) else ("id", "title", "description"):
                if len(item if isinstance(item, str) else getattr(item, field)) > most:
                    raise _too_long(field, index, most)


def service_of(request: Request) -> Service:
    """Return the service of the worker that a request came to."""
    service: Service = request.app.state.service
    return service


def _too_long(field: str, index: int | None, most: int) -> InvalidInput:
    return InvalidInput(
        f"{place_of(field, index)} is longer than the {most} characters allowed", field=field, index=index
    )
