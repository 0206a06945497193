"""What a fresh process pays: import, the first ranking, and memory; writes ``startup.json``, and prints it.

    python benchmarks/startup.py [BUNDLE] [--variant NAME] [--repeats 5] [--items 1000 10000] [--history 192]

Every figure is the median over fresh processes, which run the engine alone: no PyTorch, and no text of any data.
`first_ranking_s` is load plus one ranking of 10 items, with the files in the disk cache and the import not counted.
`peak_memory_mib` is the most that a process which ranks one list of so many items ever holds. The setting is that of
the machine's profile where the bundle has one.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from provenance import result_folder, stamp, write_result

TARGETS = {"import_s": 0.3, "first_ranking_s": 1.5, "peak_memory_mib": 450.0}
_FIRST_ITEMS = 10
_SLOWEST_SHOWN = 8
_IMPORT = "import time; t = time.perf_counter(); import onyxrank; print(time.perf_counter() - t)"
_CHILD = Path(__file__).with_name("first_ranking.py")
_IMPORT_TIME_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| \s*(\S+)")


def measure(bundle: str, *, variant: str, repeats: int, items: Sequence[int], history: int) -> dict[str, Any]:
    """Run the fresh processes and sum them up; the target of memory is for the first number of items."""
    first = [_rank(bundle, variant, _FIRST_ITEMS, history) for _ in range(repeats)]
    peaks = {count: _mib(_rank(bundle, variant, count, history)["peak_bytes"]) for count in items}
    figures = {
        "import_s": round(statistics.median(float(_python("-c", _IMPORT)) for _ in range(repeats)), 4),
        "first_ranking_s": round(statistics.median(run["load_s"] + run["rank_s"] for run in first), 4),
        "peak_memory_mib": peaks[items[0]],
    }
    return {
        **{name: first[0][name] for name in ("architecture", "variant", "threads", "sessions", "tuned")},
        "repeats": repeats,
        "history_tokens": history,
        "figures": {
            name: {"value": value, "target": TARGETS[name], "met": value is not None and value <= TARGETS[name]}
            for name, value in figures.items()
        },
        "peak_memory_mib_by_items": peaks,
        "load_s": round(statistics.median(run["load_s"] for run in first), 4),
        "slowest_imports_ms": slowest_imports(_import_time()),
    }


def slowest_imports(text: str, most: int = _SLOWEST_SHOWN) -> dict[str, float]:
    """List the modules that take the longest by themselves, from the output of ``python -X importtime``."""
    own = {name: int(microseconds) / 1000 for microseconds, _, name in _IMPORT_TIME_LINE.findall(text)}
    return dict(sorted(own.items(), key=lambda entry: -entry[1])[:most])


def _mib(number: int | None) -> float | None:
    return None if number is None else round(number / 2**20, 1)


def _rank(bundle: str, variant: str, items: int, history: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_python(str(_CHILD), bundle, variant, str(items), str(history)))
    return content


def _python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def _import_time() -> str:
    command = [sys.executable, "-X", "importtime", "-c", "import onyxrank"]
    return subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure import, first ranking and memory in fresh processes.")
    parser.add_argument("bundle", nargs="?", help="a bundle; by default that of benchmarks/model.py")
    parser.add_argument("--variant", default="auto", help="of the bundle")
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes per figure")
    parser.add_argument(
        "--items", type=int, nargs="+", default=[1000, 10_000], help="of the lists whose memory is measured"
    )
    parser.add_argument("--history", type=int, default=192, help="most tokens of history")
    parser.add_argument("--out", type=Path, help="folder of the result; by default this machine's")
    given = parser.parse_args()
    record, bundle = stamp("startup"), given.bundle
    if bundle is None:
        from model import bundle_folder

        bundle = str(bundle_folder())
    figures = measure(bundle, variant=given.variant, repeats=given.repeats, items=given.items, history=given.history)
    result = write_result(record, figures, result_folder(record, given.out) / "startup.json")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
