"""What each of locust's users does: rank widgets and pages, and check every answer against its own request.

Reads the file named in ONYXRANK_LOAD_REQUESTS: a list of {"kind", "body", "scores"}; writes what it saw to the one
named in ONYXRANK_LOAD_OUT. A user told to come back later does so, after the time it was told.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import gevent
from checking import is_own
from locust import FastHttpUser, events, task

REQUESTS: list[dict[str, Any]] = json.loads(Path(os.environ["ONYXRANK_LOAD_REQUESTS"]).read_text(encoding="utf-8"))
OUTCOMES: Counter[str] = Counter()
SECONDS: dict[str, list[float]] = defaultdict(list)
DONE: list[float] = []
_RATE = float(os.environ.get("ONYXRANK_LOAD_RATE", "0"))


class Shopper(FastHttpUser):
    """A user on one connection."""

    connection_timeout = 60.0
    network_timeout = 120.0
    if _RATE:
        # Shoppers come independently of each other; locust's own pacing keeps all of its users in step.
        wait_time = staticmethod(lambda: random.expovariate(_RATE))

    def on_start(self) -> None:
        """Draw requests independently of the others; where the rate is fixed, do not begin with them."""
        self._draw = random.Random(id(self))
        if _RATE:
            gevent.sleep(self._draw.expovariate(_RATE))

    @task
    def rank(self) -> None:
        """Send one request and check its answer."""
        wanted = self._draw.choice(REQUESTS)
        began = time.perf_counter()
        with self.client.post("/v1/rank", json=wanted["body"], name=wanted["kind"], catch_response=True) as response:
            seconds = time.perf_counter() - began
            outcome = str(response.status_code)
            if response.status_code == 200:
                outcome = "200" if is_own(response.json(), wanted) else "mixed up"
                SECONDS[wanted["kind"]].append(seconds)
                DONE.append(time.time())
            OUTCOMES[f"{wanted['kind']} {outcome}"] += 1
            if outcome in ("200", "429"):
                response.success()
            else:
                response.failure(outcome)
            if outcome == "429" and not _RATE:
                gevent.sleep(float(response.headers["retry-after"]))


@events.test_stop.add_listener
def write(**_: Any) -> None:
    """Write what was seen."""
    content = {"outcomes": dict(OUTCOMES), "seconds": dict(SECONDS), "done": DONE}
    Path(os.environ["ONYXRANK_LOAD_OUT"]).write_text(json.dumps(content), encoding="utf-8")
