"""What a caller may choose about a search for the fastest setting, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onyxrank.errors import InvalidInput
from onyxrank.tune.space import TARGETS, Target

OnProgress = Callable[[float, str], None]
"""Called as the search goes on, with the share of the budget that is used and a note on what was just done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What to search for, and for how long.

    Attributes:
        target: ``latency`` for the time of one request at a time, or ``throughput`` for as many callers at once as
            there are CPUs.
        p99_ms: milliseconds within which 99 of 100 requests must be scored, or None for no limit. Tokenizing comes on
            top, and takes the same time under every setting. The percentile is taken from a hundred requests where
            there is time for so many, and from fewer otherwise; the report says from how many.
        budget_s: seconds that the search may take. One run of the slowest setting may come on top, and for each
            finalist that is refused the comparison of 8 lists with fp32.
        providers: names of the only execution providers to try, or None for all that run here.
        requests: jsonl file of requests to measure with, or None for the bundle's own sample.
        exhaustive: whether to drop no setting and to measure each equally often, which serves to check the search
            itself.

    """

    target: Target = "latency"
    p99_ms: float | None = None
    budget_s: float = 120.0
    providers: Sequence[str] | None = None
    requests: Path | None = None
    exhaustive: bool = False

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InvalidInput(f"target must be one of {', '.join(TARGETS)}", field="target")
        for name, value in (("p99_ms", self.p99_ms), ("budget", self.budget_s)):
            if value is not None and not 0 < value < float("inf"):
                raise InvalidInput(f"{name} must be a positive number, not {value}", field=name)
