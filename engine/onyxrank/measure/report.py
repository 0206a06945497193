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
    """Where the engine's time goes: each stage's share of the wall time of all repeats together.

    Attributes:
        tokenize: checking the input and making token ids of it.
        queue: waiting for a thread, or for other requests.
        history: inside the session of the history (shared-history).
        batch: planning and padding micro-batches.
        run: inside the session of the pairs, or of the items.
        rank: probabilities to a sorted ranking.
        overhead: everything that is not inside the sessions.

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
        """Divide the stages of some calls by the wall time of the same calls."""
        shares = {
            stage: sum(getattr(timing, stage) for timing in timings) / seconds
            for stage in ("tokenize", "queue", "history", "batch", "run", "rank")
        }
        return cls(**shares, overhead=1.0 - shares["history"] - shares["run"])

    def to_json(self) -> dict[str, float]:
        """JSON values."""
        return {name: round(share, 4) for name, share in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class WayReport:
    """The figures of one way.

    Attributes:
        name: of the way.
        latency: of the workload.
        speedup: how many times faster at the median than eager PyTorch in sorted fp32 batches, measured in the
            same rounds; None without that.
        settings: what it ran with.
        shares: where the time went; None for ways other than the engine.
        added_memory_bytes: what loading it and answering one request added to this process at the peak; a model
            that ways share counts at the first of them; None if not measured.
        score_difference: largest difference of a probability from the first fp32 way of its bundle; None if not
            compared.
        share_of_peak: of the machine's measured matrix products in its precision, over its whole time; None if not
            measured.
        throughput: of several callers at once; None for ways other than the engine.
        note: what a reader of the figure must know.

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
        """What scoring a million items costs at the median, for an hourly price of the machine."""
        return price / 3600 / self.latency.items_per_s * 1e6

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
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
    """The figures of one workload.

    Attributes:
        workload: what was asked for.
        size: what the request really was.
        ways: one report per way, the engine's variants first.
        other_cpus: CPUs that other processes kept busy while measuring; None where the system does not tell.
        crowded: whether they took CPUs that the ways needed: then no figure here compares anything.
        peak_memory_bytes: of this process with all ways loaded; None where the system does not tell.
        peak_gops: measured peak of the matrix products by precision, 10⁹ operations a second; None if not measured.
        price: hourly price of the machine that costs are for; None for no costs.
        machine: facts of the machine.
        versions: of Python packages that took part.
        settings: bundle, threads, repeats, budget.
        measured_at: UTC, ISO 8601.

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
        """JSON values."""
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
