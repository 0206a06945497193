"""The race: the same checkpoint and the same requests through everything people use, and through onyxrank.

1. Each peer has a process of its own, in an environment of its own where the project does not use its library itself
   (`race_field`). It finds its best batch size for each workload; bulk, the busy callers and the lists of quality
   take the page's.
2. All take turns in one run, in an order that changes from round to round, and medians are compared (`race_turns`).
   What is timed is from texts to a sorted order, inside the peer's process.
3. Scores are compared with fp32 PyTorch (cross) or with the fp32 graphs (shared-history), so that a peer that is fast
   and wrong shows; with --data all rank the same held-out lists too (`race_quality`).

    python benchmarks/race.py [--data FOLDER of amazon2018_office] [--cross BUNDLE --shared BUNDLE]
                              [--name race-bert-base]

`grow.py` makes bundles of BERT-base's shape. What was measured is written after every workload.

Without --data the texts are the demo shop's; without bundles MiniLM, trained for a moment, takes part: speed does not
depend on how well the weights rank.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from architectures import LIMITS, long_enough, read_texts
from model import built_bundle, say, shop_texts
from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank.bundle.opening import Bundle, open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.profile import profile_path, write_profile
from onyxrank.machine.cpus import usable_cpus
from onyxrank.measure.requests import Pool, Request, Size, Workload, make_request
from onyxrank.tune.options import TuneOptions
from onyxrank.tune.sample import write_requests
from onyxrank.tune.tuning import tune_bundle
from peers.checkpoint import checkpoint_key, peer_checkpoint
from provenance import Record, result_folder, stamp, write_result
from race_field import ONLY, PEERS, Runner, start, takes_part
from race_page import write_page
from race_quality import HeldOut, held_out
from race_turns import BUSY_CALLERS, BUSY_ORDER, BUSY_SECONDS, measure, measure_busy, measure_quality
from race_usage import Usage, crowded

WORKLOADS = {
    "page": Workload(name="page", history_tokens=192, items=100, item_tokens=64),
    "widget": Workload(name="widget", history_tokens=64, items=10, item_tokens=64),
    "search": Workload(name="search", history_tokens=8, items=50, item_tokens=64),
    "bulk": Workload(name="bulk", history_tokens=192, items=1000, item_tokens=64),
}
ROUNDS = {"page": 7, "widget": 25, "search": 9, "bulk": 3}
_CALIBRATION_PAIRS = 64


def main() -> None:
    """Race and write ``race.json``, ``race.md`` and ``race.png``, or what ``--name`` calls them."""
    options = _options()
    record = stamp("race")
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
    lists = held_out(options.data, opened, options.lists) if options.data and options.lists else None
    pairs = calibration(texts)
    checkpoint = peer_checkpoint(
        bundles[CROSS], PEERS / f"checkpoint-{checkpoint_key(opened.manifest, pairs)}", pairs
    )
    content: dict[str, Any] = {
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
        race(options, record, content, opened, requests, lists, runners)
    say(f"wrote {options.name}.json, .md and .png to {result_folder(record, options.out)}")


def _options() -> argparse.Namespace:
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
    parser.add_argument("--out", type=Path, help="folder of the result; by default this machine's")
    parser.add_argument("--name", default="race", help="of the three files that are written")
    return parser.parse_args()


def race(
    options: argparse.Namespace,
    record: Record,
    content: dict[str, Any],
    opened: Bundle,
    requests: Mapping[str, Request],
    lists: HeldOut | None,
    runners: Sequence[Runner],
) -> None:
    """Run every workload, the lists of quality and the busy callers, and write the figures after each."""
    before = Usage.now()

    def keep() -> None:
        content["crowded"] = crowded(before, Usage.now(), content["threads"])
        content["peers"] = [runner.to_json() for runner in runners]
        write(record, content, result_folder(record, options.out), options.name)

    def run(name: str) -> None:
        part = [runner for runner in runners if takes_part(runner, name)]
        rounds = options.rounds or ROUNDS[name]
        content["workloads"][name] = size_of(opened, requests[name]) | {
            "rounds": rounds,
            "left_out": [runner.name for runner in runners if runner not in part],
        }
        measure(name, requests[name], part, rounds)
        keep()

    for name in (name for name in requests if name not in ONLY):
        run(name)
    if lists is not None:
        measure_quality(lists, runners)
        keep()
    if not options.no_busy and {"page", "widget"} <= requests.keys():
        measure_busy(requests, runners)
        keep()
    # These come last, without the others: what twenty processes keep of their largest runs fills the memory.
    for name in (name for name in requests if name in ONLY):
        for runner in runners:
            if not takes_part(runner, name):
                runner.process.close()
        run(name)


def write(record: Record, content: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write the figures and their page."""
    write_page(write_result(record, content, folder / f"{name}.json"), folder, name)


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


def calibration(texts: Pool) -> list[tuple[str, str]]:
    """Make pairs for the peers that quantize statically."""
    dice = np.random.default_rng(0)
    pairs = []
    for item in texts.items[:_CALIBRATION_PAIRS]:
        events = [texts.events[int(index)] for index in dice.integers(len(texts.events), size=6)]
        pairs.append((" ; ".join(events), f"{item.title} {item.description}"))
    return pairs


def size_of(bundle: Bundle, request: Request) -> dict[str, Any]:
    """Measure what the request really holds."""
    size = Size.of(load_encoder(bundle).encode(request.history, request.items))
    return {
        "history_tokens": size.history_tokens,
        "items": size.items,
        "item_tokens_mean": size.item_tokens_mean,
    }


if __name__ == "__main__":
    main()
