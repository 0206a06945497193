"""The figures in README and the documentation, written from the results.

1. A page marks where figures stand: ``<!-- figures: NAME -->`` … ``<!-- end of figures -->``, around a table, a
   paragraph or a few words. What stands between is written by the function of that name (`cited_blocks`).
2. A function asks for a result as current or as of an earlier state. It fails if the index says otherwise: figures of
   a state that has passed cannot stay where a page speaks of the code as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from provenance import RESULTS, ROOT
from results_index import INDEX

PAGES = (
    "README.md",
    *(f"docs/{name}.md" for name in ("quality-and-speed", "embed", "serve", "deploy", "shared-history")),
)
_BLOCK = re.compile(r"(<!-- figures: ([a-z0-9-]+) -->\n*)(.*?)(\n*<!-- end of figures -->)", re.DOTALL)


class Results:
    """The results by file, each asked for by the state that it must be of."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self._folder = folder
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        self._earlier = {entry["file"]: entry["earlier"] for entry in index}

    def current(self, file: str) -> Any:
        """Read a result that describes the code as it is.

        Raises:
            ValueError: if it is of an earlier state, or not in the index.

        """
        reason = self._earlier.get(file, "it is not in the index")
        if reason is not None:
            raise ValueError(f"{file} is cited as current, but since then: {reason}")
        return self._read(file)

    def earlier(self, file: str) -> Any:
        """Read a result of an earlier state.

        Raises:
            ValueError: if it is current, or not in the index.

        """
        if self._earlier.get(file) is None:
            raise ValueError(f"{file} is cited as of an earlier state, but it is current or not in the index")
        return self._read(file)

    def _read(self, file: str) -> Any:
        path = self._folder / file
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else text


def render(text: str, blocks: Mapping[str, Callable[[Results], str]], results: Results) -> str:
    """Write all figures of a page anew.

    Raises:
        KeyError: if a mark names no function.

    """
    return _BLOCK.sub(lambda found: f"{found[1]}{blocks[found[2]](results)}{found[4]}", text)


def write_pages(root: Path = ROOT) -> list[str]:
    """Write the figures of every page, and name the pages that changed."""
    from cited_blocks import BLOCKS

    results, changed = Results(), []
    for name in PAGES:
        before = (root / name).read_text(encoding="utf-8")
        after = render(before, BLOCKS, results)
        if after != before:
            (root / name).write_text(after, encoding="utf-8")
            changed.append(name)
    return changed


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Write a table of Markdown whose first columns are text, and the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def percent(share: float, digits: int = 0) -> str:
    """Write a share in per cent."""
    return f"{share * 100:.{digits}f} %"


def way_ms(way: Mapping[str, Any]) -> float:
    """Return the median milliseconds of a way."""
    return float(way["latency"]["p50_ms"])


def ways_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ways of a cell by name."""
    return {way["name"]: way for way in cell["ways"]}
