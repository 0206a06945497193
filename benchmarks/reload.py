"""Whether a model's memory comes back when another takes its place (onnxruntime #26831).

    python benchmarks/reload.py [BUNDLE BUNDLE] [--times 30]

One ranker changes between the bundles under a light load, and its resident memory is read after every change. The
figures are written to ``reload.json`` and printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path

from onyxrank import Ranker
from onyxrank.measure.memory import current_bytes
from provenance import result_folder, stamp, write_result

_ITEMS = [f"camping stove number {number}" for number in range(50)]


def measure(bundles: list[Path], times: int) -> dict[str, object]:
    """Reload so many times, and read the resident MiB after each."""
    held: list[float] = []
    stop = threading.Event()
    with Ranker.load(bundles[0]) as ranker:

        def ask() -> None:
            while not stop.is_set():
                ranker.rank(["steel tent pegs"], _ITEMS)

        asking = threading.Thread(target=ask)
        asking.start()
        for number in range(1, times + 1):
            ranker.reload(bundles[number % len(bundles)])
            ranker.rank(["steel tent pegs"], _ITEMS)
            held.append(round((current_bytes() or 0) / 2**20, 1))
            print(f"· {number}: {held[-1]} MiB", file=sys.stderr, flush=True)
        stop.set()
        asking.join()
    return {"bundles": [bundle.name for bundle in bundles], "resident_mib": held}


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory over reloads.")
    parser.add_argument("bundles", nargs="*", type=Path, help="by default those of benchmarks/model.py")
    parser.add_argument("--times", type=int, default=30, help="reloads")
    parser.add_argument("--out", type=Path, help="folder of the result; by default this machine's")
    given = parser.parse_args()
    record, bundles = stamp("reload"), given.bundles
    if not bundles:
        from model import LIMITS, built_bundle, bundle_folder
        from onyxrank.architectures.registry import SHARED_HISTORY

        bundles = [bundle_folder(), built_bundle("shared", SHARED_HISTORY, LIMITS)]
    path = result_folder(record, given.out) / "reload.json"
    print(json.dumps(write_result(record, measure(bundles, given.times), path), indent=2))


if __name__ == "__main__":
    main()
