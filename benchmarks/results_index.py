"""The index of the results: which figures describe the code as it is, and which are of an earlier state.

1. Every file below ``results`` is a result with a record of its own, is named in the ``record.json`` of its folder,
   or is made of a recorded JSON file and bears its name (a page, a picture).
2. A result is current if it measured the newest state of every part that its kind depends on (``states.json``); else
   the first change since then is the reason why it is of an earlier state.
3. ``index.json`` and ``README.md`` in ``results`` are written from that, and the figures in the project's pages from
   the index (`cited`).

    python benchmarks/results_index.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from provenance import AFTERWARDS, RECORD, RECORDS, RESULTS, STATES, Record, machine_name

INDEX, PAGE = "index.json", "README.md"
_OWN = frozenset({INDEX, PAGE, RECORDS})
_HEAD = """# Results

Written by `make results`; not edited. A result is current if it measured the newest state of every part of the code
that its kind depends on; the parts and their changes are in `benchmarks/states.json`. Every result records its kind,
commit, date, machine and command. Of those marked with a star that was put together afterwards, from the history and
the documentation: their commit is the one that brought the file. A page or a picture beside a file bears its name.
Figures in README and in the documentation come from current results, unless they are said to be of an earlier state.
"""


def entries(results: Path = RESULTS) -> list[dict[str, Any]]:
    """Make one entry for each result, by file; what is made of a result is named in its entry."""
    states = json.loads(STATES.read_text(encoding="utf-8"))
    return [
        {
            "file": path.relative_to(results).as_posix(),
            "made_of_it": [each.name for each in _made_of(path)],
            "measures": states["kinds"][record["kind"]]["measures"],
            "machine_name": machine_name(record["machine"]),
            **record,
            "earlier": why_earlier(record, states["parts"]),
        }
        for path, record in recorded(results)
    ]


def recorded(results: Path = RESULTS) -> Iterator[tuple[Path, Record]]:
    """Yield every result with its record."""
    for folder in sorted({path.parent for path in results.rglob("*") if path.is_file()}):
        beside = json.loads((folder / RECORDS).read_text(encoding="utf-8")) if (folder / RECORDS).exists() else {}
        for path in sorted(folder.iterdir()):
            if path.name in beside:
                yield path, beside[path.name]
            elif path.suffix == ".json" and path.name not in _OWN:
                record = json.loads(path.read_text(encoding="utf-8")).get(RECORD)
                if record is not None:
                    yield path, record


def unrecorded(results: Path = RESULTS) -> list[str]:
    """List the files that no record tells anything of."""
    known = {each for path, _ in recorded(results) for each in (path, *_made_of(path))}
    files = (path for path in sorted(results.rglob("*")) if path.is_file() and path.name not in _OWN)
    return [path.relative_to(results).as_posix() for path in files if path not in known]


def why_earlier(record: Mapping[str, Any], parts: Mapping[str, Sequence[Mapping[str, str]]]) -> str | None:
    """Return the first change since which a result no longer describes the code; None for a current one."""
    changes = [change for part, state in record["states"].items() for change in parts[part][state:]]
    return min(changes, key=lambda change: change["since"])["change"] if changes else None


def page(index: Sequence[Mapping[str, Any]]) -> str:
    """Write the index as a page of Markdown."""
    current = [entry for entry in index if entry["earlier"] is None]
    earlier = [entry for entry in index if entry["earlier"] is not None]
    lines = [_HEAD, "## Current", "", *_table(current), "", "## Of an earlier state", "", *_table(earlier)]
    return "\n".join(lines) + "\n"


def _table(index: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write a row for each result; those of one folder, command and commit share it."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for entry in index:
        folder, _, name = entry["file"].rpartition("/")
        mark = " \\*" if entry.get("recorded") == AFTERWARDS else ""
        told = (entry["measures"], entry["machine_name"], entry["date"][:10], (entry["commit"] or "")[:7])
        command = entry["command"].replace("|", "\\|")
        rows.setdefault((folder, *told, f"`{command}`", entry["earlier"] or "", mark), []).append(f"`{name}`")
    lines = ["| files | measures | machine | date | commit | command | since then |", f"|{'---|' * 7}"]
    for (folder, *told, mark), names in rows.items():
        lines.append(f"| `{folder}/`: {', '.join(names)}{mark} | {' | '.join(told)} |")
    return lines


def _made_of(path: Path) -> list[Path]:
    """List the page and the picture of a recorded JSON file."""
    made = (path.with_suffix(suffix) for suffix in (".md", ".png"))
    return [each for each in made if path.suffix == ".json" and each.exists()]


def main() -> None:
    """Write the index, and the figures in the pages from it."""
    from cited import write_pages

    index = entries()
    (RESULTS / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (RESULTS / PAGE).write_text(page(index), encoding="utf-8")
    for path in write_pages():
        print(f"wrote figures to {path}")


if __name__ == "__main__":
    main()
