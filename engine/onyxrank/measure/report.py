"""The figures of a benchmark as values that become JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from onyxrank.measure.latency import Latency
from onyxrank.measure.requests import Size, Workload
from onyxrank.measure.throughput import Throughput
from onyxrank.request.timings import Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Where the engine's time goes, as each stage's share of the wall time of all repeats together.

    Attributes:
        tokenize: share for checking the input and turning it into token ids.
        queue: share for waiting for a thread or for other requests.
        history: share inside the session of the history, which shared-history has.
        batch: share for planning and padding micro-batches.
        run: share inside the session of the pairs or of the items.
        rank: share for turning probabilities into a sorted ranking.
        overhead: share for everything that is not inside a session.

    """

    tokenize: float
    queue: float
    history: float
    batch: float
    run: float
    rank: float
    overhead: float

    @classmethod
    def of(cls, timings: Sequence[Timings], seconds: float) -> Shares:
        """Divide the time that some calls spent in each stage by the seconds that the same calls took in all."""
        shares = {
            stage: sum(getattr(timing, stage) for timing in timings) / seconds
            for stage in ("tokenize", "queue", "history", "batch", "run", "rank")
        }
        return cls(**shares, overhead=1.0 - shares["history"] - shares["run"])

    def to_json(self) -> dict[str, float]:
        """Return the attributes as JSON values."""
        return {name: round(share, 4) for name, share in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class WayReport:
    """The figures of one way of ranking.

    Attributes:
        name: name of the way.
        latency: how long the way took for the request.
        speedup: how many times as fast the way is at the median as eager PyTorch in sorted fp32 batches, measured in
            the same rounds; None if that was not measured.
        settings: settings that the way ran with.
        shares: where the engine's time went; None for other ways.
        added_memory_bytes: bytes that loading the way and answering one request added to this process at the peak. A
            model that several ways share counts for the first of them only. None if it was not measured.
        score_difference: largest difference of a probability from the first fp32 way of the same bundle; None if it
            was not compared.
        share_of_peak: share that the way reached, over its whole time, of the machine's peak in its precision; None
            if it was not measured.
        throughput: what the engine answered to several callers at once; None for other ways.
        note: what a reader of the figures must know; empty if nothing.

    """

    name: str
    latency: Latency
    speedup: float | None
    settings: Mapping[str, object] = field(default_factory=dict)
    shares: Shares | None = None
    added_memory_bytes: int | None = None
    score_difference: float | None = None
    share_of_peak: float | None = None
    throughput: Throughput | None = None
    note: str = ""

    def cost_per_million(self, price: float) -> float:
        """Compute what scoring a million items costs at the median speed, given the machine's price an hour."""
        return price / 3600 / self.latency.items_per_s * 1e6

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "name": self.name,
            "latency": self.latency.to_json(),
            "speedup": None if self.speedup is None else round(self.speedup, 3),
            "settings": dict(self.settings),
            "shares": None if self.shares is None else self.shares.to_json(),
            "added_memory_bytes": self.added_memory_bytes,
            "score_difference": self.score_difference,
            "share_of_peak": None if self.share_of_peak is None else round(self.share_of_peak, 4),
            "throughput": None if self.throughput is None else self.throughput.to_json(),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """The figures of a benchmark with one request.

    Attributes:
        workload: the size that was asked for.
        size: the size that the request really had.
        ways: one report for each way, the engine's variants first.
        other_cpus: number of CPUs that other processes kept busy on average meanwhile; None where the system does not
            tell.
        crowded: whether other processes took CPUs that the ways needed. The figures then compare nothing.
        peak_memory_bytes: most memory that this process had, with all ways loaded; None where the system does not
            tell.
        peak_gops: measured peak of the machine's matrix products by precision, in 10⁹ operations a second; None if it
            was not measured.
        price: price of the machine an hour, for which costs are computed; None for no costs.
        machine: facts about the machine.
        versions: versions of the Python packages that took part, by name.
        settings: settings of the benchmark: bundle, threads, repeats, budget, texts and seed.
        measured_at: time of the measurement in UTC, in ISO 8601.

    """

    workload: Workload
    size: Size
    ways: tuple[WayReport, ...]
    other_cpus: float | None
    crowded: bool
    peak_memory_bytes: int | None
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    settings: Mapping[str, object]
    measured_at: str
    peak_gops: Mapping[str, float] | None = None
    price: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "workload": asdict(self.workload),
            "size": asdict(self.size),
            "ways": [self._way(way) for way in self.ways],
            "other_cpus": None if self.other_cpus is None else round(self.other_cpus, 2),
            "crowded": self.crowded,
            "peak_memory_bytes": self.peak_memory_bytes,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "settings": dict(self.settings),
            "measured_at": self.measured_at,
            "peak_gops": None if self.peak_gops is None else dict(self.peak_gops),
            "price": self.price,
        }

    def _way(self, way: WayReport) -> dict[str, Any]:
        cost = None if self.price is None else round(way.cost_per_million(self.price), 4)
        return way.to_json() | {"cost_per_million": cost}
