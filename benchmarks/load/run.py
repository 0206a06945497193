"""The server under load, on this machine: throughput beside the bare engine, honest refusals, memory, recovery.

1. `onyxrank serve` with 64 connections of widgets (10 items) and pages (100 items), three to one, for some minutes;
   locust asks, and every answer is checked against the bare engine's scores of its own request.
2. The bare engine in this process: 8 threads rank as many widgets to a page as were served, here and at the end.
3. Three times as many requests as it can answer, while /health is asked beside; then how soon it is itself again.

    python benchmarks/load/run.py [--bundle BUNDLE] [--variant NAME] [--minutes 10] [--overload-seconds 60]

locust has an environment of its own in `.bench/load`. It runs on the same CPUs: the server has less than all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bare import KINDS, bare_throughput, make_requests, overhead
from load_page import write_page
from served import beside, environment, metric, probe_seconds, recovery_seconds, server, shoot, widget_seconds

from model import built_bundle, say
from onyxrank import Limits, Ranker
from onyxrank.architectures.registry import SHARED_HISTORY
from onyxrank.bundle.opening import open_bundle
from onyxrank.serve.settings import QUEUE_TOKENS
from provenance import RECORD, result_folder, stamp, write_result

CONNECTIONS, OVERLOAD = 64, 3.0
OVERLOAD_USERS = 256
_BARE_S = 60.0
_SAMPLE_S = 2.0


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the percentiles in milliseconds."""
    return {f"p{p}": round(float(np.percentile(seconds, p)) * 1000, 1) for p in (50, 95, 99)} | {
        "max": round(max(seconds) * 1000, 1)
    }


def overload(url: str, requests: Path, widget: dict[str, Any], capacity: float, seconds: float) -> dict[str, Any]:
    """Ask for several times what can be answered, and see how the server fares meanwhile and afterwards."""
    idle_s = statistics.median(widget_seconds(url, widget) for _ in range(20))
    say(f"{OVERLOAD:g} times the {capacity:.1f} requests a second that it can answer")
    with httpx.Client(timeout=60) as client, beside(0.1, lambda: probe_seconds(client, url)) as health:
        flood = shoot(url, requests, seconds, OVERLOAD_USERS, OVERLOAD * capacity / OVERLOAD_USERS)
    recovery = recovery_seconds(url, widget, idle_s)
    return {
        "seconds": seconds,
        "offered_per_second": round(OVERLOAD * capacity, 1),
        "outcomes": flood["outcomes"],
        "latency_ms": {kind: percentiles(times) for kind, times in flood["seconds"].items()},
        "health_ms": percentiles(health),
        "idle_widget_ms": round(idle_s * 1000, 1),
        "recovery_s": round(recovery, 2),
    }


def overload_again(figures: dict[str, Any], bundle: Path, variant: str, seconds: float) -> dict[str, Any]:
    """Keep the figures of an earlier run, and measure the overload anew."""
    steady = figures["steady"]
    served = sum(count for name, count in steady["outcomes"].items() if name.endswith(" 200"))
    requests = make_requests(bundle, variant)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(requests, file)
        file.flush()
        with server(bundle, variant) as (_, url):
            capacity = served / (steady["minutes"] * 60)
            return figures | {"overload": overload(url, Path(file.name), requests[0]["body"], capacity, seconds)}


def measure(bundle: Path, variant: str, minutes: float, overload_s: float, bare_s: float) -> dict[str, Any]:
    """Measure everything, in order."""
    environment()
    say("requests, and what the bare engine says to them")
    requests = make_requests(bundle, variant)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(requests, file)
        file.flush()
        path = Path(file.name)
        with Ranker.load(bundle, variant=variant) as ranker:
            in_force = ranker.info()["variant"]
        with server(bundle, variant) as (process, url):
            widget = requests[0]["body"]
            say("overhead of a widget")
            extra = overhead(bundle, variant, url, requests, 200)
            say(f"{CONNECTIONS} connections for {minutes:g} minutes")
            with beside(_SAMPLE_S, lambda: (time.time(), process.memory_info().rss)) as memory:
                began = time.time()
                steady = shoot(url, path, minutes * 60, CONNECTIONS)
                ended = time.time()
            speed = metric(url, "onyxrank_tokens_per_second")
            mix = {kind: steady["outcomes"].get(f"{kind} 200", 0) for kind in KINDS}
            say("the bare engine, for what was served")
            bare = [bare_throughput(bundle, variant, requests, mix, bare_s)]
            capacity = sum(mix.values()) / (ended - began)
            flood = overload(url, path, widget, capacity, overload_s)
        say("the bare engine again")
        bare.append(bare_throughput(bundle, variant, requests, mix, bare_s))
    ranked = sum(count * KINDS[kind][0] for kind, count in mix.items())
    return {
        "bundle": {"architecture": open_bundle(bundle).manifest.architecture, "variant": in_force},
        "queue_tokens": QUEUE_TOKENS,
        "tokens_per_second": round(speed),
        "bare_items_per_second": [round(one, 1) for one in bare],
        "overhead": extra,
        "steady": {
            "minutes": minutes,
            "connections": CONNECTIONS,
            "outcomes": steady["outcomes"],
            "items_per_second": round(ranked / (ended - began), 1),
            "latency_ms": {kind: percentiles(seconds) for kind, seconds in steady["seconds"].items()},
            "rss_mib": [[round(moment - began), round(size / 2**20, 1)] for moment, size in memory],
        },
        "overload": flood,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a server on this machine.")
    parser.add_argument("--bundle", type=Path, help="by default MiniLM, shared-history, trained for a moment")
    parser.add_argument("--variant", default="auto", help="of the bundle; the default one has int8 by force")
    parser.add_argument("--minutes", type=float, default=10.0, help="of 64 connections")
    parser.add_argument("--overload-seconds", type=float, default=60.0, help="of three times too much")
    parser.add_argument("--overload-only", action="store_true", help="keep the other figures of the last run")
    parser.add_argument("--bare-seconds", type=float, default=_BARE_S, help="of the bare engine, twice")
    parser.add_argument("--out", type=Path, help="folder of the result; by default this machine's")
    given = parser.parse_args()
    record = stamp("load")
    path = result_folder(record, given.out) / "load.json"
    bundle = given.bundle or built_bundle("shared", SHARED_HISTORY, Limits(history_tokens=192, item_tokens=64))
    if given.overload_only:
        figures = json.loads(path.read_text(encoding="utf-8"))
        del figures[RECORD]
        figures = overload_again(figures, bundle, given.variant, given.overload_seconds)
    else:
        figures = measure(bundle, given.variant, given.minutes, given.overload_seconds, given.bare_seconds)
    write_page(write_result(record, figures, path), path.with_suffix(".md"))
    print(path.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
