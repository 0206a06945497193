"""From the JSON of a run of bench_latency.py to the files that are read: latency.json, latency.md, latency.png.

python benchmarks/report.py .bench/latency.json [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from figures import Figures
from page import render
from plot import draw
from provenance import RECORD, result_folder, write_result

_SCHEMA = 1


def compact(raw: dict[str, Any]) -> Figures:
    """Keep what the report needs of pytest-benchmark's JSON.

    Raises:
        SystemExit: if it is not the JSON of a run of bench_latency.py.

    """
    cells = [bench["extra_info"] for bench in raw.get("benchmarks", []) if "ways" in bench.get("extra_info", {})]
    if not cells or not raw.get("onyxrank"):
        raise SystemExit(
            "report.py: these are not the figures of bench_latency.py; run it with --benchmark-json=FILE"
        )
    cells.sort(key=lambda cell: (cell["history_tokens"], cell["items"]))
    return Figures({RECORD: raw["onyxrank"][RECORD], "schema": _SCHEMA, **raw["onyxrank"], "cells": cells})


def write(figures: Figures, out: Path) -> None:
    """Write the three files."""
    write_result(figures.content[RECORD], figures.content, out / "latency.json")
    (out / "latency.md").write_text(render(figures), encoding="utf-8")
    draw(figures, out / "latency.png")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the latency report.")
    parser.add_argument("raw", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("--out", type=Path, help="folder of the report; by default this machine's")
    given = parser.parse_args(arguments)
    figures = compact(json.loads(given.raw.read_text(encoding="utf-8")))
    folder = result_folder(figures.content[RECORD], given.out)
    write(figures, folder)
    if figures.crowded():
        print(
            "warning: other processes used the CPUs meanwhile; the report says that it is not valid", file=sys.stderr
        )
    print(f"wrote latency.json, latency.md and latency.png to {folder}")


if __name__ == "__main__":
    main()
