"""The grid that is measured: how many items, how long a history, how often.

The budgets keep the whole grid under ten minutes on two slow cores with MiniLM. There a round of 100 items takes
10 to 30 seconds and one of 1,000 items one to two minutes: that is why the large cells have few repeats.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onyxrank.bundle.opening import Bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.measure.bench import Entrant, measure_ways
from onyxrank.measure.load import CpuTimes, is_crowded, other_cpus
from onyxrank.measure.requests import Pool, Request, Size, Workload, make_request
from onyxrank.measure.ways import LOOP, Say, Way

ITEM_TOKENS = 48
HISTORIES = (32, 128, 256)
LARGE = 1000
LOOP_ITEMS = 100
LOOP_NOTE = f"x{LARGE // LOOP_ITEMS} of {LOOP_ITEMS} items: the loop is linear by construction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One size of request and how long to measure it.

    Attributes:
        items: of the list.
        history_tokens: of the history.
        repeats: most rounds.
        budget_s: seconds after which no further round is begun.
        warmup: unmeasured runs of each way. The large cells have none: `prepare` has run every way by then.

    """

    items: int
    history_tokens: int
    repeats: int
    budget_s: float
    warmup: int

    def __str__(self) -> str:
        return f"{self.items}-items-history-{self.history_tokens}"


FULL = tuple(
    Cell(items=items, history_tokens=history, repeats=repeats, budget_s=budget, warmup=warmup)
    for items, repeats, warmup, budgets in (
        (1, 200, 2, (5.0, 5.0, 5.0)),
        (10, 100, 1, (8.0, 8.0, 8.0)),
        (100, 20, 0, (20.0, 34.0, 40.0)),
        (LARGE, 2, 0, (60.0, 60.0, 60.0)),
    )
    for history, budget in zip(HISTORIES, budgets, strict=True)
)
QUICK = tuple(Cell(items=items, history_tokens=32, repeats=3, budget_s=2.0, warmup=1) for items in (1, 10))


@dataclass(frozen=True, slots=True)
class Bench:
    """What every cell is measured with.

    Attributes:
        bundle: whose tokenizer and limits make the requests.
        pool: the texts.
        ways: loaded.
        threads: of each.
        say: told what is done.

    """

    bundle: Bundle
    pool: Pool
    ways: tuple[Way, ...]
    threads: int
    say: Say


def run_cell(cell: Cell, bench: Bench) -> dict[str, Any]:
    """Measure one cell: every way in every round.

    Returns:
        JSON values: what was asked, the real size, the seconds it took, what others used, and one report per way.

    """
    started = time.perf_counter()
    encoder = load_encoder(bench.bundle)
    workload = Workload(
        name=str(cell),
        history_tokens=cell.history_tokens,
        items=cell.items,
        item_tokens=min(ITEM_TOKENS, encoder.limits.item_tokens),
    )
    request = make_request(bench.bundle, workload, pool=bench.pool)
    entrants = [entrant for way in bench.ways for entrant in _enter(way, cell, bench.ways, request)]
    before = CpuTimes.now()
    for entrant in entrants:
        entrant.way.prepare(entrant.request)
    reports = measure_ways(entrants, repeats=cell.repeats, budget_s=cell.budget_s, warmup=cell.warmup)
    others = other_cpus(before, CpuTimes.now())
    crowded = is_crowded(others, bench.threads)
    seconds = time.perf_counter() - started
    warning = f", CROWDED: others kept {others:.1f} CPUs busy" if crowded else ""
    bench.say(f"{cell}: {reports[0].latency.repeats} rounds, {seconds:.0f} s{warning}")
    return {
        "items": cell.items,
        "history_tokens": cell.history_tokens,
        "size": asdict(Size.of(encoder.encode(request.history, request.items))),
        "seconds": round(seconds, 1),
        "other_cpus": None if others is None else round(others, 2),
        "crowded": crowded,
        "ways": [report.to_json() for report in reports],
    }


def _enter(way: Way, cell: Cell, ways: Sequence[Way], request: Request) -> list[Entrant]:
    """Say how a way takes part in a cell; in the large cells some take a part of the list, or none."""
    if cell.items < LARGE:
        return [Entrant(way, request)]
    if way.name == LOOP:
        return [Entrant(way, request.first(LOOP_ITEMS), LARGE // LOOP_ITEMS, LOOP_NOTE)]
    others = {other.name for other in ways}
    if way.name == "fp32" and "fp32_fused" in others:
        return []
    if "dynamic" in way.name and way.name.replace("dynamic", "static") in others:
        return []
    return [Entrant(way, request)]
