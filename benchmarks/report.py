"""From the JSON of a run of bench_latency.py to the files that are read: latency.json, latency.md, latency.png.

python benchmarks/report.py .bench/latency.json [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from figures import Figures
from page import render
from plot import draw

RESULTS = Path(__file__).resolve().parent / "results"
_SCHEMA = 1


def compact(raw: dict[str, Any]) -> Figures:
    """Keep of pytest-benchmark's JSON what the report is made of.

    Raises:
        SystemExit: if it is not the JSON of a run of bench_latency.py.

    """
    cells = [bench["extra_info"] for bench in raw.get("benchmarks", []) if "ways" in bench.get("extra_info", {})]
    if not cells or not raw.get("onyxrank"):
        raise SystemExit(
            "report.py: these are not the figures of bench_latency.py; run it with --benchmark-json=FILE"
        )
    cells.sort(key=lambda cell: (cell["history_tokens"], cell["items"]))
    return Figures({"schema": _SCHEMA, **raw["onyxrank"], "cells": cells})


def write(figures: Figures, out: Path, command: str) -> None:
    """Write the three files."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "latency.json").write_text(json.dumps(figures.content, indent=1) + "\n", encoding="utf-8")
    (out / "latency.md").write_text(render(figures, command), encoding="utf-8")
    draw(figures, out / "latency.png")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the latency report.")
    parser.add_argument("raw", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    given = parser.parse_args(arguments)
    figures = compact(json.loads(given.raw.read_text(encoding="utf-8")))
    write(figures, given.out, shlex.join(["python", *sys.argv]))
    if figures.crowded():
        print(
            "warning: other processes used the CPUs meanwhile; the report says that it is not valid", file=sys.stderr
        )
    print(f"wrote latency.json, latency.md and latency.png to {given.out}")


if __name__ == "__main__":
    main()
