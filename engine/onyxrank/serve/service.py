"""What the routes share: the ranker, the limits on what it is asked, and what is counted."""

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

Candidates = Sequence[Item | str]


@dataclass(slots=True)
class Service:
    """One worker's model and figures.

    Attributes:
        settings: of the server.
        ranker: None until it is loaded, and when it is closed.
        metrics: where rankings are counted.
        name: of the model in force.

    """

    settings: ServeSettings
    metrics: Metrics
    ranker: Ranker | None = None
    name: str = ""

    async def rank(
        self,
        history: str | Sequence[str],
        items: Candidates,
        top_k: int | None = None,
        deadline_s: float | None = None,
        called: str = "",
    ) -> Ranking:
        """Rank within the limits of the server.

        Args:
            history: as of `Ranker.rank`.
            items: as of `Ranker.rank`.
            top_k: as of `Ranker.rank`.
            deadline_s: seconds from now; by default the server's.
            called: what the client calls the list of items, if these are mere texts.

        Raises:
            InvalidInput: if there are too many items, or a text is too long.
            OnyxrankError: as `Ranker.arank`.

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
        # After the answer, which goes out in this turn of the loop.
        asyncio.get_running_loop().call_soon(self.metrics.ranking, ranking)
        tracing.tell_ranking(ranking)
        return ranking

    def loaded(self) -> Ranker:
        """The ranker.

        Raises:
            RuntimeError: before it is loaded, which no request sees.

        """
        if self.ranker is None:
            raise RuntimeError("no model is loaded")
        return self.ranker

    async def reload(self, bundle: str, name: str) -> dict[str, Any]:
        """Serve another bundle; the one before goes on if it cannot be loaded. Gives the model's `info`."""
        await asyncio.to_thread(self.loaded().reload, bundle)
        logs.log("reloaded", model=name)
        return self.use(self.loaded(), name)

    def use(self, ranker: Ranker, name: str) -> dict[str, Any]:
        """Take a loaded model into service; gives its `info`."""
        self.ranker, self.name = ranker, name
        info = ranker.info()
        self.metrics.model(name, info)
        return info

    def _check_texts(self, history: str | Sequence[str], items: Candidates) -> None:
        most = self.settings.max_text_chars
        for index, text in enumerate([history] if isinstance(history, str) else history):
            if len(text) > most:
                raise _too_long("history", index, most)
        for index, item in enumerate(items):
            for field in ("title",) if isinstance(item, str) else ("id", "title", "description"):
                if len(item if isinstance(item, str) else getattr(item, field)) > most:
                    raise _too_long(field, index, most)


def _renamed(error: InvalidInput, called: str) -> InvalidInput:
    """The error in the words of the API that the client speaks, where they are not the engine's own."""
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
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service


def _too_long(field: str, index: int, most: int) -> InvalidInput:
    return InvalidInput(
        f"{place_of(field, index)} is longer than the {most} characters allowed", field=field, index=index
    )
