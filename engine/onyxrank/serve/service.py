"""What all routes of a worker share: the ranker, the limits on requests, and the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from onyxrank.errors import InvalidInput
from onyxrank.ranker import Ranker
from onyxrank.request.items import Item, place_of
from onyxrank.request.ranking import Ranking
from onyxrank.serve import logs, tracing
from onyxrank.serve.metrics import Metrics
from onyxrank.serve.settings import ServeSettings

ItemsOrTitles = Sequence[Item | str]
"""The items of a request; a string is an item's title."""


@dataclass(slots=True)
class Service:
    """The model of one worker, with the limits of the server around it.

    Attributes:
        settings: settings of the server.
        metrics: what counts the rankings.
        ranker: the loaded model, or None before it is loaded.
        name: name of the model, as answers give it.

    """

    settings: ServeSettings
    metrics: Metrics
    ranker: Ranker | None = None
    name: str = ""

    async def rank(
        self,
        history: str | Sequence[str],
        items: ItemsOrTitles,
        top_k: int | None = None,
        deadline_s: float | None = None,
        called: str = "",
    ) -> Ranking:
        """Rank items within the limits of the server.

        Args:
            history: what the shopper did, as `Ranker.rank` takes it.
            items: the items, as `Ranker.rank` takes them.
            top_k: most items to return, or None for all.
            deadline_s: seconds from now within which to answer, or None for the server's default.
            called: name of the list of items in the client's API, if its items are mere texts; errors use it.

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
            ranking = await self.loaded().arank(history, items, top_k, deadline=deadline_s or settings.timeout_s)
        except InvalidInput as error:
            raise _renamed(error, called) from error
        # Counting waits for the next turn of the event loop, so that the answer goes out first.
        asyncio.get_running_loop().call_soon(self.metrics.ranking, ranking)
        tracing.record_ranking(ranking)
        return ranking

    def loaded(self) -> Ranker:
        """Return the loaded ranker.

        Raises:
            RuntimeError: if no model is loaded yet. The server takes requests only after that.

        """
        if self.ranker is None:
            raise RuntimeError("no model is loaded")
        return self.ranker

    async def reload(self, bundle: str, name: str) -> dict[str, Any]:
        """Serve another bundle from now on and return its model's `info`.

        If the bundle cannot be loaded, the error is raised and the model before is served as before.
        """
        await asyncio.to_thread(self.loaded().reload, bundle)
        logs.log("reloaded", model=name)
        return self.use(self.loaded(), name)

    def use(self, ranker: Ranker, name: str) -> dict[str, Any]:
        """Serve a loaded model from now on and return its `info`."""
        self.ranker, self.name = ranker, name
        info = ranker.info()
        self.metrics.model(name, info)
        return info

    def _check_texts(self, history: str | Sequence[str], items: ItemsOrTitles) -> None:
        most = self.settings.max_text_chars
        for index, text in enumerate([history] if isinstance(history, str) else history):
            if len(text) > most:
                raise _too_long("history", index, most)
        for index, item in enumerate(items):
            for field in ("title",) if isinstance(item, str) else ("id", "title", "description"):
                if len(item if isinstance(item, str) else getattr(item, field)) > most:
                    raise _too_long(field, index, most)


def _renamed(error: InvalidInput, called: str) -> InvalidInput:
    """Reword an error if the client's API has other names than the engine: its name for the items, and ``query``."""
    if not called:
        return error
    message, field = str(error), error.field
    if error.index is not None and field != "history":
        place = f"{called}[{error.index}]"
        return InvalidInput(message.replace(f"items[{error.index}].{field}", place), field=place)
    if field == "history":
        return InvalidInput(message.replace("history", "query"), field="query")
    return InvalidInput(message.replace("items", called), field=called) if field == "items" else error


def service_of(request: Request) -> Service:
    """Return the service of the worker that a request came to."""
    service: Service = request.app.state.service
    return service


def _too_long(field: str, index: int, most: int) -> InvalidInput:
    return InvalidInput(
        f"{place_of(field, index)} is longer than the {most} characters allowed", field=field, index=index
    )
