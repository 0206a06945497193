"""`Ranker`, the public class of the package: one loaded bundle that ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank.loading.explaining import explain
from onyxrank.loading.lifetime import Lifetime
from onyxrank.prepared import PreparedHistory
from onyxrank.request.items import History, ItemLike, Items, is_listed, to_events, to_items
from onyxrank.request.ranking import Ranking, check_top_k
from onyxrank.request.readability import Readability, readability
from onyxrank.request.score_table import CHUNK_ROWS, score_frame
from onyxrank.request.tables import Table, reordered
from onyxrank.request.timings import Stopwatch

ItemT = TypeVar("ItemT", bound=ItemLike)
TableT = TypeVar("TableT", bound=Table)


class Ranker(Lifetime):
    """Ranks items for a shopper by purchase probability. Safe to share between threads and event loops.

    Make one with `Ranker.load`, and close it or use it in a ``with`` block. Every call takes the history as
    one text or as texts, oldest first, and items as ``onyxrank.Item``, mappings or title strings, or a pandas,
    polars or pyarrow table of items. Inputs are never changed.

    Example:
        >>> with onyxrank.Ranker.load("bundle") as ranker:  # doctest: +SKIP
        ...     for hit in ranker.rank(["steel tent pegs"], ["camping stove", "desk lamp"]):
        ...         print(hit.rank, hit.id, hit.score)

    """

    def rank(
        self, history: History, items: Items, top_k: int | None = None, *, deadline: float | None = None
    ) -> Ranking:
        """Rank items, best first, ties in input order.

        Args:
            history: what the shopper did; empty for a cold start.
            items: the candidates; an empty list gives an empty ranking.
            top_k: most hits to return; all by default.
            deadline: seconds from now after which the answer is of no use.

        Raises:
            InvalidInput: if an argument cannot be used; it names an item by its index and field.
            Overloaded: if the queue has no room for the request.
            DeadlineExceeded: if it was not done in time; steps that had not begun by then are not run.
            NonFiniteScore: if the model answers NaN or infinity; it names the item.
            OnyxrankError: if the ranker is closed, or was carried through a fork.

        """
        watch, most = Stopwatch(), check_top_k(top_k)
        with self._leases.lease() as engine:
            read, margins = engine.score(lambda: [engine.encode(to_events(history), items)], watch, deadline)
        return engine.rankings(read, margins, most, watch)[0]

    def explain(
        self, history: History, items: Items, top_k: int | None = None, *, deadline: float | None = None
    ) -> Ranking:
        """Rank items as `rank` does, with the reasons of each hit, whose amounts add up to its margin.

        With late-interaction they are what the score is made of, and cost about as much as ranking. With the other
        architectures the hits are scored again without each event: a history of 20 events takes 20 times as long.

        Args:
            history: what the shopper did; empty for a cold start.
            items: the candidates.
            top_k: most hits to return and to explain; all by default.
            deadline: seconds from now after which the answer is of no use.

        Raises:
            OnyxrankError: as `rank` does.

        """
        watch, most = Stopwatch(), check_top_k(top_k)
        with self._leases.lease() as engine:
            return explain(engine, to_events(history), items, most, watch, deadline)

    async def arank(
        self, history: History, items: Items, top_k: int | None = None, *, deadline: float | None = None
    ) -> Ranking:
        """Rank items as `rank` does, without blocking the event loop. Cancelling it frees its place in the queue."""
        watch, most = Stopwatch(), check_top_k(top_k)
        with self._leases.lease() as engine:
            read, margins = await engine.ascore(history, items, watch, deadline)
        return engine.rankings(read, margins, most, watch)[0]

    def rank_many(
        self,
        requests: Iterable[tuple[History, Items]],
        top_k: int | None = None,
        *,
        deadline: float | None = None,
    ) -> list[Ranking]:
        """Rank several requests at once; with cross, their rows share micro-batches.

        Args:
            requests: pairs of history and items.
            top_k: most hits of each request; all by default.
            deadline: seconds from now for all of them together.

        Returns:
            One ranking for each request, in their order, as from `rank`, but with the timings of this call.

        Raises:
            OnyxrankError: as `rank` does; it names the request besides the item.

        """
        watch, most = Stopwatch(), check_top_k(top_k)
        if not is_listed(requests):
            raise InvalidInput("requests must be pairs of history and items", field="requests")
        with self._leases.lease() as engine:
            read, margins = engine.score(lambda: engine.encode_pairs(requests), watch, deadline)
        return engine.rankings(read, margins, most, watch)

    def score(self, history: History, items: Items, *, deadline: float | None = None) -> NDArray[np.float32]:
        """Score items without sorting them.

        Returns:
            Purchase probabilities of the items in input order, float32 [items].

        Raises:
            OnyxrankError: as `rank` does.

        """
        with self._leases.lease() as engine:
            _, margins = engine.score(lambda: [engine.encode(to_events(history), items)], Stopwatch(), deadline)
        return engine.probabilities(margins)[0]

    async def ascore(self, history: History, items: Items, *, deadline: float | None = None) -> NDArray[np.float32]:
        """Score items as `score` does, without blocking the event loop."""
        with self._leases.lease() as engine:
            _, margins = await engine.ascore(history, items, Stopwatch(), deadline)
        return engine.probabilities(margins)[0]

    def score_frame(
        self,
        frame: TableT,
        *,
        request: str = "request_id",
        history: str = "history",
        score: str = "score",
        rank: str = "rank",
        chunk_rows: int = CHUNK_ROWS,
        progress: bool | None = None,
    ) -> TableT:
        """Score a whole table of requests, in which each row has one item of one request, in any order.

        Requests are read, scored and forgotten a chunk at a time, so that beside the table memory holds only the
        keys, the two new columns and a chunk. Where other calls fill the queue, a chunk waits for room.

        Args:
            frame: a pandas or polars DataFrame, or a pyarrow Table or RecordBatch, with the item's columns named as
                its fields (``title`` or ``item_title``, ``description`` or ``item_description``).
            request: column of the request's key, any text or number; rows of one key are one request.
            history: column of the request's history: a text, a list of texts, oldest first, or null for a cold start.
                All rows of a request must have the same.
            score: name of the new column of float32 purchase probabilities.
            rank: name of the new column of int64 places in the request's ranking, from 1, ties in row order.
            chunk_rows: rows to read and score at once; a larger request is a chunk of its own.
            progress: show a bar on standard error where that is a terminal, which needs the extra ``cli``; by default
                only where that is installed.

        Returns:
            A new table of the same kind, rows and order, with the two columns on the right.

        Raises:
            InvalidInput: if a row cannot be scored; it names the row (from 0) as `index` and the column as `field`.
            NonFiniteScore: if the model answers NaN or infinity; it names the row.
            MissingExtra: if a bar is to be shown and rich is not installed.
            OnyxrankError: if the ranker is closed.

        """
        names = {"request": request, "history": history, "score": score, "rank": rank}
        with self._leases.lease() as engine:
            scored: TableT = score_frame(
                frame,
                engine.encoder,
                engine.scheduler.score_in_turn,
                engine.readout.probabilities,
                chunk_rows=chunk_rows,
                progress=progress,
                **names,
            )
        return scored

    @overload
    def recommend(self, user_behavior: History, item_list: Iterable[ItemT]) -> list[ItemT]: ...

    @overload
    def recommend(self, user_behavior: History, item_list: TableT) -> TableT: ...

    def recommend(self, user_behavior: History, item_list: Any) -> Any:
        """Order the caller's own items, best first.

        Args:
            user_behavior: the history.
            item_list: the candidates.

        Returns:
            A list of the same objects; for a table, a new table of its rows. Errors are those of `rank`.

        """
        candidates = list(item_list) if isinstance(item_list, Iterator) else item_list
        return reordered(candidates, [hit.index for hit in self.rank(user_behavior, candidates)])

    def prepare(self, history: History) -> PreparedHistory:
        """Read a history once, to rank several lists against it.

        With shared-history its keys and values are computed now, through the queue, and the returned object holds
        them whatever the history cache does; with cross only its tokenization is saved. This call blocks, and so do
        those of the returned object: an event loop calls `arank`, whose histories the cache keeps.

        Args:
            history: what the shopper did; empty for a cold start.

        Raises:
            InvalidInput: if the history is neither a text nor a sequence of texts.
            Overloaded: if the queue has no room for it (shared-history).
            OnyxrankError: if the ranker is closed.

        """
        return PreparedHistory(self._leases, to_events(history), self)

    def readability(self, items: Items, queries: Iterable[str] = ()) -> Readability:
        """Count how much of a catalogue the model's vocabulary does not know.

        Args:
            items: the items.
            queries: further texts that requests have.

        Raises:
            InvalidInput: if an item cannot be ranked; it names the item's index and field.
            OnyxrankError: if the ranker is closed, or was carried through a fork.

        """
        with self._leases.lease() as engine:
            return readability(engine.encoder, to_items(items), queries)
