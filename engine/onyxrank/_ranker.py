"""The public face: one loaded bundle that ranks."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from onyxrank._bundle import open_bundle
from onyxrank._errors import InvalidInput, OnyxrankError
from onyxrank._frames import Table, reordered
from onyxrank._history import DEFAULT_CACHE_BYTES
from onyxrank._items import History, ItemLike, Items, to_events
from onyxrank._loading import Engine, load_engine
from onyxrank._options import LoadOptions
from onyxrank._pipeline import encode, encode_numbered, rank
from onyxrank._prepared import PreparedHistory
from onyxrank._ranking import Ranking, check_top_k
from onyxrank._score_frame import CHUNK_ROWS, score_frame
from onyxrank._timing import Stopwatch

ItemT = TypeVar("ItemT", bound=ItemLike)
TableT = TypeVar("TableT", bound=Table)


class Ranker:
    """Ranks items for a shopper by purchase probability. Safe to share between threads.

    Make one with `Ranker.load`, and close it or use it in a ``with`` block. Every call takes the history as
    one text or as texts, oldest first, and items as ``onyxrank.Item``, mappings or title strings, or a pandas,
    polars or pyarrow table of items. Inputs are never changed.

    Example:
        >>> with onyxrank.Ranker.load("bundle") as ranker:  # doctest: +SKIP
        ...     for hit in ranker.rank(["steel tent pegs"], ["camping stove", "desk lamp"]):
        ...         print(hit.rank, hit.id, hit.score)

    """

    def __init__(self, engine: Engine) -> None:
        self._engine: Engine | None = engine

    @classmethod
    def load(
        cls,
        bundle: str | os.PathLike[str],
        *,
        provider: str = "auto",
        threads: int | None = None,
        profile: str | os.PathLike[str] | None = "auto",
        variant: str = "auto",
        sessions: int | None = None,
        micro_batch_tokens: int | None = None,
        history_cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> Ranker:
        """Verify a bundle and open it.

        Args:
            bundle: the folder that ``onyxrank export`` wrote.
            provider: execution provider; ``auto`` takes the best that really runs, and `info` says why.
            threads: CPU threads of one run; by default the profile's, or all that this process may use.
            profile: ``auto`` uses what ``onyxrank tune`` found on a machine like this one, where it did, and `info`
                says so; a file that it wrote must be of this machine; None uses none. What is chosen here stands
                against the profile; it is not used at all if provider or variant is.
            variant: name of a graph variant. ``auto`` takes only one whose scores do not depend on the other
                items of the list.
            sessions: most micro-batches of a request that run at once, each on `threads` threads; by default the
                profile's, or 1.
            micro_batch_tokens: most tokens of one run, padding included; by default the profile's, or what is
                fast on most CPUs.
            history_cache_bytes: most bytes of histories to keep for their shoppers' next requests, in memory only
                (shared-history); 0 for none.

        Raises:
            BundleError: if the bundle is missing, damaged, altered, or too new; or its profile is.
            ProviderUnavailable: if the provider asked for by name does not really run.
            InvalidInput: if an option has no such value.

        """
        if not isinstance(bundle, str | os.PathLike):
            raise InvalidInput(f"bundle must be a path, not {type(bundle).__name__}", field="bundle")
        options = LoadOptions(
            provider=provider,
            threads=threads,
            profile=profile,
            variant=variant,
            sessions=sessions,
            micro_batch_tokens=micro_batch_tokens,
            history_cache_bytes=history_cache_bytes,
        )
        return cls(load_engine(open_bundle(bundle), options))

    def rank(self, history: History, items: Items, top_k: int | None = None) -> Ranking:
        """Rank items, best first, ties in input order.

        Args:
            history: what the shopper did; empty for a cold start.
            items: the candidates; an empty list gives an empty ranking.
            top_k: most hits to return; all by default.

        Raises:
            InvalidInput: naming the item's index and field.
            NonFiniteScore: if the model answers NaN or infinity; names the item.
            OnyxrankError: if the ranker is closed.

        """
        engine, watch, most = self._opened(), Stopwatch(), check_top_k(top_k)
        with watch.stage("tokenize"):
            request = encode(engine, to_events(history), items)
        return rank(engine, [request], most, watch)[0]

    def rank_many(self, requests: Iterable[tuple[History, Items]], top_k: int | None = None) -> list[Ranking]:
        """Rank several requests at once; with cross, their rows share micro-batches.

        Args:
            requests: pairs of history and items.
            top_k: most hits per request; all by default.

        Returns:
            One ranking per request, in their order; the same as from `rank`, but all with the timings of this
            call.

        Raises:
            InvalidInput: naming the request, and the item's index and field.
            NonFiniteScore: if the model answers NaN or infinity; names request and item.
            OnyxrankError: if the ranker is closed.

        """
        engine, watch, most = self._opened(), Stopwatch(), check_top_k(top_k)
        if not isinstance(requests, Iterable):
            raise InvalidInput("requests must be pairs of history and items", field="requests")
        with watch.stage("tokenize"):
            encoded = [encode_numbered(engine, number, request) for number, request in enumerate(requests)]
        return rank(engine, encoded, most, watch)

    def score(self, history: History, items: Items) -> NDArray[np.float32]:
        """Score items without sorting them.

        Returns:
            float32 purchase probabilities [items] in input order.

        Raises:
            InvalidInput: naming the item's index and field.
            NonFiniteScore: if the model answers NaN or infinity; names the item.
            OnyxrankError: if the ranker is closed.

        """
        engine = self._opened()
        return engine.architecture.score([encode(engine, to_events(history), items).encoded])[0]

    def score_frame(
        self,
        frame: TableT,
        *,
        request: str = "request_id",
        history: str = "history",
        score: str = "score",
        rank: str = "rank",
        chunk_rows: int = CHUNK_ROWS,
        progress: bool = True,
    ) -> TableT:
        """Score a whole table of requests: a row per request and item, in any order.

        Whole requests are read, scored and forgotten a chunk at a time, so that memory beside the table stays at the
        keys, the two new columns and a chunk.

        Args:
            frame: a pandas or polars DataFrame, or a pyarrow Table or RecordBatch, with the item's columns named as
                its fields (``title`` or ``item_title``, ``description`` or ``item_description``).
            request: column of the request's key, any text or number; rows of one key are one request.
            history: column of its history: a text, a list of texts, oldest first, or null for a cold start; the
                same in all rows of a request.
            score: name of the new column of float32 purchase probabilities.
            rank: name of the new column of int64 places in the request's ranking, from 1, ties in row order.
            chunk_rows: rows to read and score at once; a larger request is a chunk of its own.
            progress: show a bar on standard error where that is a terminal; needs the extra ``cli`` there.

        Returns:
            A new table of the same kind, rows and order, with the two columns on the right.

        Raises:
            InvalidInput: naming the row (from 0) and the column; `index` and `field` are these.
            NonFiniteScore: if the model answers NaN or infinity; names the row.
            MissingExtra: if a bar is to be shown and rich is not installed.
            OnyxrankError: if the ranker is closed.

        """
        engine, names = self._opened(), {"request": request, "history": history, "score": score, "rank": rank}
        scored: TableT = score_frame(
            frame, engine.encoder, engine.architecture.score, chunk_rows=chunk_rows, progress=progress, **names
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
            The very objects of the list; of a table a new one of its rows.

        Raises:
            InvalidInput: naming the item's index and field.
            NonFiniteScore: if the model answers NaN or infinity; names the item.
            OnyxrankError: if the ranker is closed.

        """
        candidates = list(item_list) if isinstance(item_list, Iterator) else item_list
        return reordered(candidates, [hit.index for hit in self.rank(user_behavior, candidates)])

    def prepare(self, history: History) -> PreparedHistory:
        """Read a history once, to rank several lists against it.

        With shared-history its keys and values are computed here and held by what is returned, whatever the history
        cache does; with cross only its tokenization is saved.

        Args:
            history: what the shopper did; empty for a cold start.

        Raises:
            InvalidInput: if the history is not text or texts.
            OnyxrankError: if the ranker is closed.

        """
        engine = self._opened()
        encoded = engine.encoder.encode_history(to_events(history))
        return PreparedHistory(self._opened, replace(encoded, state=engine.architecture.prepare(encoded.ids)))

    def info(self) -> dict[str, Any]:
        """Say what is loaded, what it really runs on, and why; with shared-history also what the cache holds.

        JSON values only.
        """
        engine = self._opened()
        return copy.deepcopy(engine.facts) | engine.architecture.facts()

    def close(self) -> None:
        """Free the sessions; calls in flight may fail. Closing again does nothing."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.architecture.close()

    def __enter__(self) -> Ranker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _opened(self) -> Engine:
        engine = self._engine
        if engine is None:
            raise OnyxrankError("this ranker is closed; load the bundle again")
        return engine
