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
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load_page import write_page

from model import WORK, built_bundle, say, shop_texts
from onyxrank import Limits, Ranker
from onyxrank.architectures.registry import SHARED_HISTORY
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine.cpus import describe
from onyxrank.serve.settings import QUEUE_TOKENS
from peers.environments import make_environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
KINDS = {"widget": (10, 60), "page": (100, 20)}
"""Items, and how many different requests: three widgets to a page."""
HISTORY_EVENTS = 30
"""More than the model reads."""
CONNECTIONS, OVERLOAD = 64, 3.0
OVERLOAD_USERS = 256
_BARE_THREADS = 8
_BARE_S = 60.0
_SAMPLE_S = 2.0
T = TypeVar("T")


def make_requests(bundle: Path, variant: str) -> list[dict[str, Any]]:
    """Requests of the demo shop's texts, as large as the bundle reads, with the bare engine's scores."""
    texts, draw = shop_texts(), random.Random(0)
    made = []
    with Ranker.load(bundle, variant=variant) as ranker:
        for kind, (count, different) in KINDS.items():
            for number in range(different):
                history = draw.choices(texts.events, k=HISTORY_EVENTS)
                items = draw.sample(texts.items, k=count)
                listed = [
                    {"id": f"{number}-{index}-{item.id}", "title": item.title, "description": item.description}
                    for index, item in enumerate(items)
                ]
                scores = ranker.score(history, items)
                body = {"history": history, "items": listed}
                made.append({"kind": kind, "body": body, "scores": [float(score) for score in scores]})
    return made


def bare_throughput(
    bundle: Path, variant: str, requests: Sequence[dict[str, Any]], mix: Mapping[str, int], seconds: float
) -> float:
    """Items per second of the engine alone, asked by several threads for so many requests of each kind."""
    asked, end = 0, 0.0
    lock = threading.Lock()
    draw = random.Random(0)
    kinds = {kind: [request["body"] for request in requests if request["kind"] == kind] for kind in mix}

    def ask(ranker: Ranker) -> None:
        nonlocal asked
        while time.perf_counter() < end:
            with lock:
                [kind] = draw.choices(list(mix), list(mix.values()))
                body = draw.choice(kinds[kind])
            ranker.rank(body["history"], body["items"])
            with lock:
                asked += len(body["items"])

    with Ranker.load(bundle, variant=variant, queue_tokens=10**9) as ranker:
        ranker.rank(requests[0]["body"]["history"], requests[0]["body"]["items"])
        began = time.perf_counter()
        end = began + seconds
        with ThreadPoolExecutor(_BARE_THREADS) as threads:
            for one in [threads.submit(ask, ranker) for _ in range(_BARE_THREADS)]:
                one.result()
        return asked / (time.perf_counter() - began)


@contextmanager
def server(bundle: Path, variant: str) -> Iterator[tuple[psutil.Process, str]]:
    """A server of its own process, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (WORK / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "onyxrank", "serve", str(bundle), "--port", str(port), "--variant", variant],
            stderr=log,
        )
        try:
            while not _ready(url):
                if process.poll() is not None:
                    sys.exit(f"the server did not start; see {WORK / 'serve.log'}")
                time.sleep(0.1)
            yield psutil.Process(process.pid), url
        finally:
            process.terminate()
            process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def shoot(url: str, requests: Path, seconds: float, users: int, rate: float = 0.0) -> dict[str, Any]:
    """Have locust ask for some seconds; `rate` is requests per second of one user, 0 for as fast as answers come."""
    python = make_environment(WORK / "load", HERE / "requirements.txt")
    out = WORK / "load.json"
    settings = {
        "ONYXRANK_LOAD_REQUESTS": str(requests),
        "ONYXRANK_LOAD_OUT": str(out),
        "ONYXRANK_LOAD_RATE": str(rate),
    }
    command = [python, "-m", "locust", "-f", HERE / "locustfile.py", "--headless", "--only-summary", "-H", url]
    command += ["-u", str(users), "-r", str(users), "-t", f"{seconds:.0f}s", "--stop-timeout", "60"]
    with (WORK / "locust.log").open("w") as log:
        done = subprocess.run(command, env=os.environ | settings, stdout=log, stderr=log)
    seen: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    seen["exit_status"] = done.returncode
    return seen


@contextmanager
def beside(every_s: float, do: Callable[[], T]) -> Iterator[list[T]]:
    """Do something on a thread every so many seconds, as long as the block runs; gives what it returned."""
    results: list[T] = []
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_s):
            results.append(do())

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield results
    finally:
        stop.set()
        thread.join()


def probe_seconds(client: httpx.Client, url: str) -> float:
    """How long /health/live takes now."""
    began = time.perf_counter()
    client.get(f"{url}/health/live").raise_for_status()
    return time.perf_counter() - began


def widget_seconds(url: str, body: dict[str, Any]) -> float:
    """How long one widget takes now; infinite if it is refused."""
    began = time.perf_counter()
    status = httpx.post(f"{url}/v1/rank", json=body, timeout=60).status_code
    return time.perf_counter() - began if status == 200 else float("inf")


def recovery_seconds(url: str, body: dict[str, Any], idle_s: float) -> float:
    """Seconds until a widget takes no more than twice what it takes on an idle server."""
    began = time.perf_counter()
    while widget_seconds(url, body) > 2 * idle_s:
        time.sleep(0.02)
    return time.perf_counter() - began


def metric(url: str, name: str) -> float:
    """One figure of /metrics."""
    [line] = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    return {f"p{p}": round(float(np.percentile(seconds, p)) * 1000, 1) for p in (50, 95, 99)} | {
        "max": round(max(seconds) * 1000, 1)
    }


def overhead(
    bundle: Path, variant: str, url: str, requests: Sequence[dict[str, Any]], repeats: int
) -> dict[str, float]:
    """p50 of a widget in milliseconds: over HTTP, and by `Ranker.rank` in this process, taking turns."""
    widgets = [request["body"] for request in requests if request["kind"] == "widget"]
    http, bare = [], []
    # httpx itself would take most of a millisecond.
    client = HTTPConnection(url.removeprefix("http://"))
    client.connect()
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with Ranker.load(bundle, variant=variant) as ranker, closing(client):
        for number in range(repeats):
            body = widgets[number % len(widgets)]
            content = json.dumps(body).encode()
            began = time.perf_counter()
            client.request("POST", "/v1/rank", content, {"content-type": "application/json"})
            client.getresponse().read()
            http.append(time.perf_counter() - began)
            time.sleep(0.02)
            began = time.perf_counter()
            ranker.rank(body["history"], body["items"])
            bare.append(time.perf_counter() - began)
            time.sleep(0.02)
    differences = [one - other for one, other in zip(http, bare, strict=True)]
    return {
        "http_p50_ms": round(statistics.median(http) * 1000, 2),
        "rank_p50_ms": round(statistics.median(bare) * 1000, 2),
        "difference_p50_ms": round(statistics.median(differences) * 1000, 2),
        "repeats": repeats,
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
    """Figures of an earlier run with the overload measured anew."""
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
    """Everything, in order."""
    make_environment(WORK / "load", HERE / "requirements.txt")
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
        "machine": describe(),
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
    parser.add_argument("--out", type=Path, default=RESULTS / "load.json", help="where to write the figures")
    given = parser.parse_args()
    bundle = given.bundle or built_bundle("shared", SHARED_HISTORY, Limits(history_tokens=192, item_tokens=64))
    if given.overload_only:
        figures = json.loads(given.out.read_text(encoding="utf-8"))
        figures = overload_again(figures, bundle, given.variant, given.overload_seconds)
    else:
        figures = measure(bundle, given.variant, given.minutes, given.overload_seconds, given.bare_seconds)
    given.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    write_page(figures, given.out.with_suffix(".md"))
    print(given.out.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
