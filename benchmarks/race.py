"""The race: the same checkpoint and the same requests through everything people use, and through onyxrank.

1. Each peer has a process of its own, in an environment of its own where the project does not use its library itself,
   and finds its best batch size for each workload; bulk, the busy callers and the lists of quality take the page's.
2. All take turns in one run, in an order that changes from round to round; medians are compared. What is timed is
   from texts to a sorted order, inside the peer's process.
3. Scores are compared with fp32 PyTorch (cross) or with the fp32 graphs (shared-history), so that a peer that is fast
   and wrong shows; with --data all rank the same held-out lists too.

    python benchmarks/race.py [--data FOLDER of amazon2018_office] [--cross BUNDLE --shared BUNDLE]
                              [--name race-bert-base]

`grow.py` makes bundles of BERT-base's shape. What was measured is written after every workload.

Without --data the texts are the demo shop's; without bundles MiniLM, trained for a moment, takes part: speed does not
depend on how well the weights rank.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import numpy as np
import psutil

from architectures import LIMITS, long_enough, read_texts
from model import WORK, built_bundle, say, shop_texts
from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank.bundle.opening import open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.profile import profile_path, write_profile
from onyxrank.machine.cpus import describe, has_bf16, usable_cpus
from onyxrank.measure.bench import now
from onyxrank.measure.load import CpuTimes, is_crowded, other_cpus
from onyxrank.measure.overlap import top_overlap
from onyxrank.measure.requests import Pool, Request, Size, Workload, make_request
from onyxrank.tune.options import TuneOptions
from onyxrank.tune.sample import write_requests
from onyxrank.tune.tuning import tune_bundle
from peers.checkpoint import checkpoint_key, peer_checkpoint
from peers.environments import OWN, python_of
from peers.process import PeerFailed, PeerProcess
from race_page import write_page
from race_quality import HeldOut, held_out, quality_of

RESULTS = Path(__file__).resolve().parent / "results"
PEERS = WORK / "peers"
WORKLOADS = {
    "page": Workload(name="page", history_tokens=192, items=100, item_tokens=64),
    "widget": Workload(name="widget", history_tokens=64, items=10, item_tokens=64),
    "search": Workload(name="search", history_tokens=8, items=50, item_tokens=64),
    "bulk": Workload(name="bulk", history_tokens=192, items=1000, item_tokens=64),
}
ROUNDS = {"page": 7, "widget": 25, "search": 9, "bulk": 3}
ONLY = {
    "bulk": (
        "PyTorch fp32",
        "PyTorch bf16",
        "sentence-transformers onnx int8",
        "sentence-transformers openvino",
        "onyxrank",
        "history",
    )
}
"""Names, or parts of them, of the peers that a workload is for, which comes last: the others would take an hour, or
all the memory."""
REFERENCE = "PyTorch fp32"
SHARED_REFERENCE = "shared-history fp32"
BUSY_ORDER = ["widget", "widget", "widget", "page"]
BUSY_CALLERS, BUSY_SECONDS = 8, 15.0
_REST_S = 0.2
"""Longer than the threads of any peer spin after a run: those of onnxruntime do for 50 ms, on the next one's CPUs."""
_CALIBRATION_PAIRS = 64

STARTERS = (
    *(
        (OWN, "pytorch_peer", name, CROSS, name)
        for name in (
            *("PyTorch, one by one", "PyTorch fp32", "PyTorch bf16", "torch.compile fp32", "torch.compile bf16"),
            *("optimum onnxruntime", "onnxruntime, one batch"),
        )
    ),
    *(
        ("sentence_transformers", "st_peer", name, CROSS, name)
        for name in (
            *("sentence-transformers torch fp32", "sentence-transformers torch bf16"),
            *("sentence-transformers openvino", "sentence-transformers openvino int8"),
        )
    ),
    *(
        ("sentence_transformers_onnx", "st_peer", name, CROSS, name)
        for name in ("sentence-transformers onnx", "sentence-transformers onnx int8")
    ),
    ("flashrank", "flashrank_peer", "FlashRank", CROSS, "FlashRank"),
    ("fastembed", "fastembed_peer", "fastembed", CROSS, "fastembed"),
    ("infinity", "infinity_peer", "infinity optimum", CROSS, "infinity optimum"),
    (OWN, "onyxrank_peer", "onyxrank", CROSS, "onyxrank cross, tuned"),
    (OWN, "onyxrank_peer", "onyxrank fp32", SHARED_HISTORY, SHARED_REFERENCE),
    (OWN, "onyxrank_peer", "onyxrank", SHARED_HISTORY, "onyxrank shared-history, tuned"),
    (OWN, "onyxrank_peer", "onyxrank, history seen before", SHARED_HISTORY, "… history seen before"),
)
"""Environment, module, way, architecture, and the name in the tables."""


@dataclass
class Runner:
    """A peer in the race, and what was measured of it."""

    name: str
    architecture: str
    process: PeerProcess
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "settings": self.process.settings,
            "results": self.results,
            "failure": self.failure,
        }


def main() -> None:
    """Race and write ``race.json``, ``race.md`` and ``race.png``, or what ``--name`` calls them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real data for the texts")
    parser.add_argument("--cross", type=Path, help="cross bundle with its weights")
    parser.add_argument("--shared", type=Path, help="shared-history bundle")
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--only", nargs="+", default=[], help="names of peers, or parts of them")
    parser.add_argument("--no-busy", action="store_true")
    parser.add_argument("--rounds", type=int, help="rounds of every workload")
    parser.add_argument("--lists", type=int, default=60, help="held-out lists for the ranking quality; 0 for none")
    parser.add_argument("--tune-budget", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--name", default="race", help="of the three files that are written")
    options = parser.parse_args()
    threads = usable_cpus()
    if hasattr(os, "sched_setaffinity"):  # not every library can be told its threads, or sees a container's quota
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    bundles = {
        CROSS: options.cross or built_bundle(f"{CROSS}-{LIMITS.history_tokens}", CROSS, LIMITS),
        SHARED_HISTORY: options.shared
        or built_bundle(f"{SHARED_HISTORY}-{LIMITS.history_tokens}", SHARED_HISTORY, LIMITS),
    }
    opened = open_bundle(bundles[CROSS])
    texts = long_enough(read_texts(options.data) if options.data else shop_texts(), opened)
    requests = {name: make_request(opened, WORKLOADS[name], pool=texts) for name in options.workloads}
    PEERS.mkdir(parents=True, exist_ok=True)
    for bundle in bundles.values():
        tuned(bundle, requests, options.tune_budget)
    rounds = {name: options.rounds or ROUNDS[name] for name in requests}
    lists = held_out(options.data, opened, options.lists) if options.data and options.lists else None
    pairs = calibration(texts)
    checkpoint = peer_checkpoint(
        bundles[CROSS], PEERS / f"checkpoint-{checkpoint_key(opened.manifest, pairs)}", pairs
    )
    content: dict[str, Any] = {
        "measured_at": now(),
        "machine": describe(),
        "threads": threads,
        "texts": options.data.name if options.data else "demo shop",
        "bundles": {name: path.name for name, path in bundles.items()},
        "only": options.only,
        "workloads": {},
        "busy": {"callers": BUSY_CALLERS, "seconds": BUSY_SECONDS, "order": BUSY_ORDER},
        "quality": None if lists is None else {"lists": len(lists.requests), "items": len(lists.labels[0])},
    }
    with ExitStack() as closing:
        runners, content["failures"] = start(checkpoint, bundles, threads, options.only, closing)
        before = Usage.now()

        def keep() -> None:
            content["crowded"] = crowded(before, Usage.now(), threads)
            content["peers"] = [runner.to_json() for runner in runners]
            write(content, options.out, options.name)

        def run(name: str) -> None:
            part = [runner for runner in runners if takes_part(runner, name)]
            content["workloads"][name] = size_of(opened.folder, requests[name]) | {
                "rounds": rounds[name],
                "left_out": [runner.name for runner in runners if runner not in part],
            }
            measure(name, requests[name], part, rounds[name])
            keep()

        for name in (name for name in requests if name not in ONLY):
            run(name)
        if lists is not None:
            for runner in runners:
                attempt(runner, lambda runner=runner: runner.results.update(quality=measured_quality(runner, lists)))
            keep()
        if not options.no_busy and {"page", "widget"} <= requests.keys():
            measure_busy(requests, runners)
            keep()
        # Last, without the others: what twenty processes keep of their largest runs fills the memory of this machine.
        for name in (name for name in requests if name in ONLY):
            for runner in runners:
                if not takes_part(runner, name):
                    runner.process.close()
            run(name)
    say(f"wrote {options.name}.json, .md and .png to {options.out}")


def write(content: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write the figures and their page; paths of the project, as failures name them, start at its root."""
    text = json.dumps(content, indent=1).replace(f"{WORK.parent}/", "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    write_page(json.loads(text), folder, name)


def takes_part(runner: Runner, workload: str) -> bool:
    """Whether a workload is for that peer."""
    return workload not in ONLY or any(part in runner.name for part in ONLY[workload])


def tuned(bundle: Path, requests: Mapping[str, Request], budget_s: float) -> None:
    """Write the bundle's profile of this machine anew: one that is there may be of another state of the engine."""
    say(f"tuning {bundle.name}")
    sample = PEERS / "requests.jsonl"
    usual = [requests[name] for name in ("page", "widget") if name in requests]
    write_requests(usual or list(requests.values()), sample)
    profile = tune_bundle(open_bundle(bundle), TuneOptions(requests=sample, budget_s=budget_s))
    sample.unlink()
    write_profile(profile, profile_path(bundle, profile.fingerprint))
    say(f"chosen: {profile.setting}")


def start(
    checkpoint: Path,
    bundles: Mapping[str, Path],
    threads: int,
    only: Sequence[str],
    closing: ExitStack,
) -> tuple[list[Runner], dict[str, str]]:
    """Start every peer; those that do not start are named with the reason."""
    runners, failures = [], {}
    for environment, module, way, architecture, name in STARTERS:
        if only and not any(part in name for part in only):
            continue
        if "bf16" in name and not has_bf16():
            failures[name] = "this CPU has no bf16: emulated, it is slower than fp32"
            continue
        say(f"starting {name}")
        folder = bundles[architecture] if module == "onyxrank_peer" else checkpoint
        try:
            log = PEERS / f"{name.replace(' ', '_')}.log"
            process = PeerProcess(python_of(environment, PEERS), module, way, folder, threads, log)
        except (PeerFailed, CalledProcessError) as error:  # the latter of an environment that cannot be made
            failures[name] = str(error)
            say(f"{name} does not start: {error}")
            continue
        closing.callback(process.close)
        runners.append(Runner(name, architecture, process))
    return runners, failures


def measure(name: str, request: Request, runners: Sequence[Runner], rounds: int) -> None:
    """Let every peer tune itself, compare the scores, then take turns."""
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
    """Find the best batch size, but for the long workload, which takes the page's; and keep the scores."""
    if name != "bulk" or not runner.process.use_best_of("page"):
        runner.process.tune(name, request)
    runner.results[name] = {"scores": runner.process.score(request)}


def measured_quality(runner: Runner, lists: HeldOut) -> dict[str, float]:
    """Rank the held-out lists with the page's batch size."""
    runner.process.use_best_of("page")
    return quality_of(runner.process, lists)


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


def measure_busy(requests: Mapping[str, Request], runners: Sequence[Runner]) -> None:
    """Callers at once, one peer after the other."""
    both = {name: requests[name] for name in ("widget", "page")}
    for runner in runners:
        if not runner.failure:
            attempt(runner, lambda runner=runner: runner.results.update(busy=one_busy(both, runner)))


def one_busy(requests: Mapping[str, Request], runner: Runner) -> dict[str, Any]:
    """Figures by kind of request, and items per second."""
    runner.process.use_best_of("page")
    taken, elapsed = runner.process.busy(requests, BUSY_ORDER, BUSY_CALLERS, BUSY_SECONDS)
    items = sum(len(requests[name].items) * len(seconds) for name, seconds in taken.items())
    result: dict[str, Any] = {name: figures(seconds) for name, seconds in taken.items() if seconds}
    say(f"busy: {runner.name} {items / elapsed:.0f} items/s")
    return result | {"items_per_s": round(items / elapsed, 1)}


def attempt(runner: Runner, work: Any) -> None:
    """Do something with a peer; one that fails is out of the race, and that is told."""
    if runner.failure:
        return
    try:
        work()
    except PeerFailed as error:
        runner.failure = str(error)
        say(f"{runner.name} fails: {error}")


def figures(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds: percentiles and the spread of the runs."""
    p25, p50, p75, p99 = (round(float(value) * 1000, 2) for value in np.percentile(seconds, [25, 50, 75, 99]))
    longest = round(max(seconds) * 1000, 2)
    return {"p50_ms": p50, "p25_ms": p25, "p75_ms": p75, "p99_ms": p99, "max_ms": longest, "runs": len(seconds)}


def calibration(texts: Pool) -> list[tuple[str, str]]:
    """Pairs for the peers that quantize statically."""
    dice = np.random.default_rng(0)
    pairs = []
    for item in texts.items[:_CALIBRATION_PAIRS]:
        events = [texts.events[int(index)] for index in dice.integers(len(texts.events), size=6)]
        pairs.append((" ; ".join(events), f"{item.title} {item.description}"))
    return pairs


def size_of(folder: Path, request: Request) -> dict[str, Any]:
    """What the request really holds."""
    size = Size.of(load_encoder(open_bundle(folder)).encode(request.history, request.items))
    return {
        "history_tokens": size.history_tokens,
        "items": size.items,
        "item_tokens_mean": size.item_tokens_mean,
    }


@dataclass(frozen=True)
class Usage:
    """CPU seconds of the whole machine and of ours, the peers' processes included, at a moment."""

    machine: CpuTimes
    ours_s: float

    @classmethod
    def now(cls) -> Usage:
        """Read the clocks; of peers that were closed too, whose time their parent has."""
        me = psutil.Process()
        times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
        own = (each.user + each.system + each.children_user + each.children_system for each in times)
        return cls(CpuTimes.now(), sum(own))


def crowded(before: Usage, after: Usage, threads: int) -> bool:
    """Whether processes that are not of the race took CPUs that it needed."""
    start, end = (replace(each.machine, own_s=each.ours_s) for each in (before, after))
    return is_crowded(other_cpus(start, end), threads)


if __name__ == "__main__":
    main()
