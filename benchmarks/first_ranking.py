"""Load a bundle and rank one made-up list in this process; prints seconds and memory as JSON. For startup.py."""

from __future__ import annotations

import json
import sys
import time

from onyxrank import Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.measure.memory import peak_bytes
from onyxrank.measure.requests import Request, Workload, make_request

_ITEM_TOKENS = 64


def prepare(bundle: str, items: int, history: int) -> Request:
    """Make a request of vocabulary words, within the bundle's limits."""
    opened = open_bundle(bundle)
    limits = opened.manifest.limits
    workload = Workload(
        name="start",
        history_tokens=min(history, limits.history_tokens),
        items=items,
        item_tokens=min(_ITEM_TOKENS, limits.item_tokens),
    )
    return make_request(opened, workload)


def main(bundle: str, variant: str, items: str, history: str) -> None:
    request = prepare(bundle, int(items), int(history))
    begun = time.perf_counter()
    with Ranker.load(bundle, variant=variant) as ranker:
        loaded = time.perf_counter()
        ranker.rank(request.history, request.items)
        ranked = time.perf_counter()
        info = ranker.info()
    result = {
        "load_s": loaded - begun,
        "rank_s": ranked - loaded,
        "peak_bytes": peak_bytes(),
        **{name: info[name] for name in ("architecture", "variant", "threads", "sessions")},
        "tuned": info["profile"] is not None,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
