"""The bare engine that the server is compared with: the requests, its scores of them, and how fast it answers."""

from __future__ import annotations

import json
import random
import socket
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from model import shop_texts
from onyxrank import Ranker

KINDS = {"widget": (10, 60), "page": (100, 20)}
"""How many items each kind has, and how many different requests of it there are: three widgets to a page."""
_HISTORY_EVENTS = 30
"""How many events a history has: more than the model reads."""
_BARE_THREADS = 8


def make_requests(bundle: Path, variant: str) -> list[dict[str, Any]]:
    """Make requests of the demo shop's texts, as large as the bundle reads, with the bare engine's scores."""
    texts, draw = shop_texts(), random.Random(0)
    made = []
    with Ranker.load(bundle, variant=variant) as ranker:
        for kind, (count, different) in KINDS.items():
            for number in range(different):
                history = draw.choices(texts.events, k=_HISTORY_EVENTS)
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
    """Measure the engine alone, asked by several threads for that mix of requests, in items per second."""
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


def overhead(
    bundle: Path, variant: str, url: str, requests: Sequence[dict[str, Any]], repeats: int
) -> dict[str, float]:
    """Measure a widget over HTTP and by `Ranker.rank` in this process, in turn; p50 in milliseconds."""
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
