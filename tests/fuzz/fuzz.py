"""Asks a server, or a ranker in this process, with damaged requests, and tells what was not answered as it should be.

    python tests/fuzz/fuzz.py BUNDLE --requests 100000            over HTTP, every route
    python tests/fuzz/fuzz.py BUNDLE --requests 100000 --calls    in process

A fault is an answer of 500 or above that nobody asked for, an error without the shape of its API, one that quotes a
text of the request, an exception that is not of the package, or no answer in a minute. Each request follows from the
seed and its number, so that ``--only NUMBER`` makes it again.
"""

from __future__ import annotations

import argparse
import faulthandler
import http.client
import json
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from mutations import SECRET, Asked, damaged

PATIENCE = 60.0
_KEYS = {"error", "message", "detail"}
"""Keys of which the error of every API has one."""
_TOLD = {429, 503, 504}
"""Statuses above 500 that are meant, and that of a full queue."""
_MOST_SHOWN = 20


class Outcome:
    """What came of the requests: counts, and faults with the number of the request.

    Args:
        requests: how many there will be.

    """

    def __init__(self, requests: int) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._requests = requests

    def add(self, kind: str, fault: str = "") -> None:
        """Count a request, and keep its fault if it had one."""
        with self._lock:
            self.counts[kind] += 1
            if fault:
                self.faults.append(fault)
            done = sum(self.counts.values())
        # The watchdog ends a process that goes on no more, and shows where each thread is.
        faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
        if done % 5000 == 0:
            print(f"{done} of {self._requests}, {len(self.faults)} faults", file=sys.stderr)


def over_http(url: str, model: str, seed: int, outcome: Outcome, headers: dict[str, str], numbers: range) -> None:
    """Ask a server."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    for number in numbers:
        asked = damaged(Random(f"{seed}:{number}"), model)
        try:
            connection.request(asked.method, asked.path, asked.body, asked.headers | headers)
            answer = connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            outcome.add(type(error).__name__, f"{number}: {asked.method} {asked.path}: {type(error).__name__}")
            continue
        fault = judged(asked, answer.status, content)
        outcome.add(str(answer.status), f"{number}: {asked.method} {asked.path}: {fault}" if fault else "")
    connection.close()


def judged(asked: Asked, status: int, content: bytes) -> str:
    """Say what is wrong with an answer; empty if nothing is."""
    if status < 400:
        return ""
    if status == 504 and b"deadline_ms" not in asked.body:
        return "504 without a deadline"
    if status >= 500 and status not in _TOLD:
        return f"{status} {content[:200]!r}"
    if SECRET.encode() in content:
        return f"{status} quotes a text"
    if asked.method == "HEAD":
        return ""
    try:
        error = json.loads(content)
    except ValueError:
        return f"{status} is no JSON: {content[:80]!r}"
    return "" if isinstance(error, dict) and _KEYS & error.keys() else f"{status} has no error: {content[:80]!r}"


def in_process(bundle: str, seed: int, numbers: range, outcome: Outcome) -> None:
    """Call a ranker."""
    from calls import call

    from onyxrank import OnyxrankError, Ranker

    with Ranker.load(bundle, threads=1) as ranker, warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in numbers:
            fault = ""
            try:
                call(ranker, Random(f"{seed}:{number}"))
                kind = "answered"
            except OnyxrankError as error:
                kind = type(error).__name__
                fault = f"{number}: quotes a text" if SECRET in str(error) else ""
            except Exception as error:  # what this looks for
                kind = type(error).__name__
                fault = f"{number}: {kind}: {str(error)[:200]}"
            outcome.add(kind, fault)


@contextmanager
def served(bundle: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Serve a bundle on a thread, with an admin key; gives the address and the headers to ask with."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
    from serving import ADMIN_KEY, serving

    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text(ADMIN_KEY)
        with serving(bundle=bundle, admin_key_file=str(keys)) as url:
            yield url, {"authorization": f"Bearer {ADMIN_KEY}"}


def run(work: Callable[[range], None], numbers: range, threads: int) -> None:
    """Do the work on a number of threads, each of which has every n-th request."""
    with ThreadPoolExecutor(threads) as pool:
        for part in [pool.submit(work, numbers[first::threads]) for first in range(threads)]:
            part.result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--calls", action="store_true", help="call a ranker in this process")
    parser.add_argument("--url", help="a server that runs already, in place of one of this process")
    parser.add_argument("--model", default="shop", help="the model's name there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of the one request to make")
    parser.add_argument("--threads", type=int, default=4, help="connections at once")
    asked = parser.parse_args()
    numbers = range(asked.requests) if asked.only is None else range(asked.only, asked.only + 1)
    outcome, began = Outcome(len(numbers)), time.perf_counter()
    if asked.calls:
        in_process(asked.bundle, asked.seed, numbers, outcome)
    else:
        with served(asked.bundle) if asked.url is None else nullcontext((asked.url, {})) as (url, headers):
            run(partial(over_http, url, asked.model, asked.seed, outcome, headers), numbers, asked.threads)
    faulthandler.cancel_dump_traceback_later()
    seconds = time.perf_counter() - began
    print(f"{len(numbers)} requests in {seconds:.0f} s: {dict(sorted(outcome.counts.items()))}")
    for fault in outcome.faults[:_MOST_SHOWN]:
        print(fault)
    print(f"{len(outcome.faults)} faults")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
