"""How the peers of the race are measured: in turn, by their scores, and with several callers at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from model import say
from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank.measure.overlap import top_overlap
from onyxrank.measure.requests import Request
from peers.process import PeerFailed
from race_field import REFERENCE, SHARED_REFERENCE, Runner
from race_quality import HeldOut, quality_of

BUSY_ORDER = ["widget", "widget", "widget", "page"]
BUSY_CALLERS, BUSY_SECONDS = 8, 15.0
_REST_S = 0.2
"""The rest before each turn. It is longer than the threads of any peer spin after a run: those of onnxruntime do so
for 50 ms, on the CPUs of whoever runs next."""


def measure(name: str, request: Request, runners: Sequence[Runner], rounds: int) -> None:
    """Let every peer find its best batch size, compare the scores, then let all take turns."""
    for runner in runners:
        attempt(runner, lambda runner=runner: prepare(name, request, runner))
    for architecture, reference in ((CROSS, REFERENCE), (SHARED_HISTORY, SHARED_REFERENCE)):
        compare(name, [runner for runner in runners if runner.architecture == architecture], reference)
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        left = [runner for runner in runners if not runner.failure]
        for runner in random.Random(number).sample(left, len(left)):
            time.sleep(_REST_S)
            attempt(
                runner,
                lambda runner=runner: seconds.setdefault(runner.name, []).append(runner.process.rank(request)),
            )
    for runner in runners:
        if runner.name in seconds:
            runner.results[name] |= figures(seconds[runner.name]) | {"settings": dict(runner.process.settings)}
            say(f"{name}: {runner.name} {runner.results[name]['p50_ms']:.1f} ms")


def prepare(name: str, request: Request, runner: Runner) -> None:
    """Find the best batch size, and keep the scores; the long workload takes the page's batch size."""
    if name != "bulk" or not runner.process.use_best_of("page"):
        runner.process.tune(name, request)
    runner.results[name] = {"scores": runner.process.score(request)}


def compare(name: str, runners: Sequence[Runner], reference: str) -> None:
    """Put the differences from the reference in the place of the scores."""
    scores = {runner.name: runner.results.get(name, {}).pop("scores", None) for runner in runners}
    expected = scores.get(reference)
    for runner in runners:
        if expected is not None and scores[runner.name] is not None:
            ours, theirs = np.array(scores[runner.name]), np.array(expected)
            runner.results[name] |= {
                "score_difference": float(np.abs(ours - theirs).max()),
                "top_10_kept": top_overlap(ours, theirs),
            }


def measure_quality(lists: HeldOut, runners: Sequence[Runner]) -> None:
    """Let every peer rank the held-out lists with the page's batch size."""

    def rank(runner: Runner) -> None:
        runner.process.use_best_of("page")
        runner.results["quality"] = quality_of(runner.process, lists)

    for runner in runners:
        attempt(runner, lambda runner=runner: rank(runner))


def measure_busy(requests: Mapping[str, Request], runners: Sequence[Runner]) -> None:
    """Ask the peers by several callers at once, one peer after the other."""
    both = {name: requests[name] for name in ("widget", "page")}
    for runner in runners:
        attempt(runner, lambda runner=runner: runner.results.update(busy=one_busy(both, runner)))


def one_busy(requests: Mapping[str, Request], runner: Runner) -> dict[str, Any]:
    """Return figures by kind of request, and items per second."""
    runner.process.use_best_of("page")
    taken, elapsed = runner.process.busy(requests, BUSY_ORDER, BUSY_CALLERS, BUSY_SECONDS)
    items = sum(len(requests[name].items) * len(seconds) for name, seconds in taken.items())
    result: dict[str, Any] = {name: figures(seconds) for name, seconds in taken.items() if seconds}
    say(f"busy: {runner.name} {items / elapsed:.0f} items/s")
    return result | {"items_per_s": round(items / elapsed, 1)}


def attempt(runner: Runner, work: Callable[[], object]) -> None:
    """Do something with a peer; one that fails is out of the race, and its reason is kept."""
    if runner.failure:
        return
    try:
        work()
    except PeerFailed as error:
        runner.failure = str(error)
        say(f"{runner.name} fails: {error}")


def figures(seconds: Sequence[float]) -> dict[str, float]:
    """Return percentiles of the runs in milliseconds, and their number."""
    p25, p50, p75, p99 = (round(float(value) * 1000, 2) for value in np.percentile(seconds, [25, 50, 75, 99]))
    longest = round(max(seconds) * 1000, 2)
    return {"p50_ms": p50, "p25_ms": p25, "p75_ms": p75, "p99_ms": p99, "max_ms": longest, "runs": len(seconds)}
