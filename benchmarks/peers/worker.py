"""One peer in a process and an environment of its own, driven by lines of JSON.

    python worker.py MODULE WAY FOLDER THREADS

The module of this folder has ``WAYS``, a dict from names to callables that take the folder of a checkpoint and a
number of threads and give a `Peer`. What is timed runs here, so the pipe costs nothing; only the standard library is
needed.

A line in: ``{"do": "tune" | "use" | "rank" | "score" | "busy" | "quit", "request": {"history": […], "items": …}}``.
A line out: a result, or ``{"error": …}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Request = dict[str, Any]
_RUNS, _NEAR = 3, 1.15


class Peer(Protocol):
    """A way to rank, which is loaded."""

    settings: dict[str, object]
    """What it runs with; JSON values."""

    choices: Sequence[object]
    """Settings that `use` takes, to find the best of; empty where there is nothing to choose."""

    def use(self, choice: object) -> None:
        """Go on with a setting."""

    def score(self, query: str, texts: Sequence[str], request: Request) -> Sequence[float]:
        """Return scores in input order, from the query and the texts or from the request itself."""


def main() -> None:
    """Load the peer and serve lines until told to quit."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not get between the answers

    def answer(**result: object) -> None:
        answers.write(json.dumps(result) + "\n")
        answers.flush()

    module, way, folder, threads = sys.argv[1:5]
    try:
        peer = importlib.import_module(module).WAYS[way](folder, int(threads))
    except Exception as error:  # whatever keeps a peer from running is a finding
        answer(error=f"{type(error).__name__}: {error}"[:500])
        return
    answer(settings=peer.settings)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "quit":
            return
        try:
            answer(**DO[command["do"]](peer, command))
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}"[:500])


def tune(peer: Peer, command: dict[str, Any]) -> dict[str, object]:
    """Run every choice once after one run to warm up, the near ones twice more, and keep the fastest at its best."""
    seconds: dict[int, float] = {}
    for again in range(_RUNS):
        near = min(seconds.values(), default=0.0) * _NEAR
        for number, choice in enumerate(peer.choices):
            if again and seconds[number] > near:
                continue
            peer.use(choice)
            if not again:
                timed(peer, command["request"])
            taken = timed(peer, command["request"])[0]
            seconds[number] = min(taken, seconds.get(number, taken))
    if not seconds:
        timed(peer, command["request"])
        return {"settings": peer.settings}
    return use(peer, {"choice": peer.choices[min(seconds, key=lambda number: seconds[number])]})


def use(peer: Peer, command: dict[str, Any]) -> dict[str, object]:
    """Take a choice that `tune` has found."""
    peer.use(command["choice"])
    peer.settings["batch"] = command["choice"]
    return {"settings": peer.settings}


def rank(peer: Peer, command: dict[str, Any]) -> dict[str, object]:
    """Rank once, from texts to an order, and return the seconds."""
    return {"seconds": timed(peer, command["request"])[0]}


def score(peer: Peer, command: dict[str, Any]) -> dict[str, object]:
    """Return the scores themselves."""
    return {"scores": timed(peer, command["request"])[1]}


def busy(peer: Peer, command: dict[str, Any]) -> dict[str, object]:
    """Let callers take the requests in turn for some seconds: seconds of each by kind, and of all."""
    taken: dict[str, list[float]] = {name: [] for name in command["requests"]}
    order = command["order"]
    begun = time.perf_counter()
    end = begun + command["seconds"]
    failed: list[str] = []

    def call(first: int) -> None:
        number = first
        while time.perf_counter() < end and not failed:
            name = order[number % len(order)]
            try:
                taken[name].append(timed(peer, command["requests"][name])[0])
            except Exception as error:
                failed.append(f"{type(error).__name__}: {error}"[:200])
            number += 1

    callers = [threading.Thread(target=call, args=(number,)) for number in range(command["callers"])]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    if failed:
        raise RuntimeError(failed[0])
    return {"seconds": taken, "elapsed": time.perf_counter() - begun}


def timed(peer: Peer, request: Request) -> tuple[float, list[float]]:
    """Return the seconds to score and sort a request, and the scores."""
    query = " ; ".join(request["history"])
    texts = [f"{item['title']} {item['description']}".strip() for item in request["items"]]
    start = time.perf_counter()
    scores = [float(score) for score in peer.score(query, texts, request)]
    sorted(range(len(scores)), key=lambda index: -scores[index])
    return time.perf_counter() - start, scores


DO: dict[str, Callable[[Peer, dict[str, Any]], dict[str, object]]] = {
    "tune": tune,
    "use": use,
    "rank": rank,
    "score": score,
    "busy": busy,
}

if __name__ == "__main__":
    main()
