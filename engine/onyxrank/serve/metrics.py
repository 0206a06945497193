"""Counts what ``/metrics`` reports to Prometheus. Labels are names of routes and models, but never texts.

With several workers, Prometheus's library keeps the figures in files of a folder that all of them share
(`PROMETHEUS_MULTIPROC_DIR`), so that any worker can report the sums over all.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from onyxrank.request.ranking import Ranking
from onyxrank.request.timings import Timings

# The library would otherwise report a second series for every counter, with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which several workers keep their figures."""
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SCORE_BUCKETS = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("onyxrank_requests", "Requests by route and status.", ["route", "status"], **own)
        self._latency = Histogram(
            "onyxrank_request_seconds",
            "Seconds from the headers to the answer.",
            ["route"],
            buckets=_BUCKETS_S,
            **own,
        )
        self._stages = Histogram(
            "onyxrank_stage_seconds", "Seconds of a ranking, by stage.", ["stage"], buckets=_BUCKETS_S, **own
        )
        self._stage = {stage: self._stages.labels(stage) for stage in Timings().as_record()}
        self._items = Counter("onyxrank_items", "Items ranked.", **own)
        self._tokens = Counter("onyxrank_tokens", "Tokens of histories and items that were ranked.", **own)
        self._unknown = Counter("onyxrank_unknown_tokens", "Those that the vocabulary does not know.", **own)
        self._scores = Histogram(
            "onyxrank_score", "Scores of the items that were answered.", buckets=_SCORE_BUCKETS, **own
        )
        self._refusals = Counter("onyxrank_refusals", "Requests refused or given up.", ["reason"], **own)
        self._cuts = Counter("onyxrank_truncations", "Texts that did not fit the token limits.", ["part"], **own)
        self._caches = {
            "history_cache": Counter("onyxrank_history_cache", "Histories found in memory or not.", ["found"], **own),
            "item_cache": Counter("onyxrank_item_cache", "Items found in memory or not.", ["found"], **own),
        }
        self._queue = Gauge("onyxrank_queue_tokens", "Tokens that wait or run.", multiprocess_mode="livesum", **own)
        self._speed = Gauge(
            "onyxrank_tokens_per_second",
            "Tokens a second of the last micro-batches, padding included.",
            multiprocess_mode="livesum",
            **own,
        )
        self._model = Gauge(
            "onyxrank_model",
            "The model in force (1).",
            ["name", "architecture", "variant", "provider"],
            multiprocess_mode="livemax",
            **own,
        )
        self._in_force: Gauge | None = None
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], int] = {}
        _forget_killed_workers()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request and the seconds that it took."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was not served."""
        self._refusals.labels(reason).inc()

    def ranking(self, ranking: Ranking) -> None:
        """Count a ranking: its items and tokens, the time of its stages, and the texts that were cut."""
        for stage, seconds in ranking.timings.as_record().items():
            self._stage[stage].observe(seconds)
        self._items.inc(ranking.total)
        for hit in ranking.hits:
            self._scores.observe(hit.score)
        self._tokens.inc(ranking.tokens)
        self._unknown.inc(ranking.unknown_tokens)
        cuts = ranking.cuts
        for part, count in (
            ("history_event", cuts.history_events),
            ("title", cuts.titles),
            ("description", cuts.descriptions),
        ):
            if count:
                self._cuts.labels(part).inc(count)

    def model(self, name: str, info: dict[str, Any]) -> None:
        """Record which model is served from now on; its caches begin to count from 0."""
        if self._in_force is not None:
            # In the file that workers share, the figure of a label outlives the label.
            self._in_force.set(0)
            self._model.clear()
        self._in_force = self._model.labels(name, info["architecture"], info["variant"], info["provider"])
        self._in_force.set(1)
        with self._lock:
            self._seen.clear()

    def update(self, info: dict[str, Any]) -> None:
        """Take over the figures that the ranker counts itself.

        Args:
            info: what `Ranker.info` returns. Its caches give totals, of which only the increase is added.

        """
        self._queue.set(info["queue"]["tokens"])
        self._speed.set(info["queue"]["tokens_per_second"] or 0.0)
        for cache, counter in self._caches.items():
            for found in ("hits", "misses"):
                count = info.get(cache, {}).get(found, 0)
                with self._lock:
                    new = max(0, count - self._seen.get((cache, found), 0))
                    self._seen[cache, found] = count
                if new:
                    counter.labels(found).inc(new)

    def page(self) -> bytes:
        """Return all metrics, of all workers, in Prometheus's text format."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        multiprocess.MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


def _forget_killed_workers() -> None:
    """Remove the gauges of workers that were killed, which could not do it themselves.

    Their counters stay, since they count what has happened.
    """
    folder = os.environ.get(SHARED_FOLDER)
    if folder is None:
        return
    for path in Path(folder).glob("gauge_live*_*.db"):
        process = path.stem.rpartition("_")[2]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            multiprocess.mark_process_dead(int(process), folder)  # type: ignore[no-untyped-call]
