"""Where a result comes from: every benchmark stamps what it writes here, and writes it through here.

1. `stamp` makes the record of a measurement when it begins: what kind of result it is, the commit of the code and
   whether files were changed since, the date (UTC), the machine, the command, and the states of what it measures.
2. `result_folder` names the folder: one for each machine, unless the caller says where.
3. `write_result` writes figures as JSON, with the record as their first entry. What is made of such a file (a page, a
   picture) bears its name and has no record of its own. `write_record` keeps the record of a file that cannot hold
   one, in the ``record.json`` of its folder.

``states.json`` names the parts of the code that figures depend on, and every change since which the figures of before
no longer describe a part. Whoever makes such a change adds an entry there: a record holds the number of the state
that it measured, so all earlier results are then of an earlier state (`results_index`).
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onyxrank.machine.cpus import describe
from onyxrank.measure.bench import now

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
STATES = ROOT / "benchmarks" / "states.json"
RECORD = "record"
RECORDS = "record.json"
FIELDS = ("kind", "commit", "dirty", "date", "machine", "command", "states")
"""The entries that every record has."""
AFTERWARDS = "afterwards"
"""What ``recorded`` says in a record that was put together later, from the history and the documentation. Its commit
is the one that brought the result, and its states are those of its date."""

_MAKERS = {"amd", "intel", "apple", "r", "tm"}
_NUMBERS = ("cpu family", "model", "CPU implementer", "CPU part")
_FAMILIES = {"avx512_vnni": "vnni"}

Record = dict[str, Any]


def stamp(kind: str, command: Sequence[str] | None = None, gpu: str | None = None) -> Record:
    """Record a measurement that begins now.

    Args:
        kind: of ``states.json``.
        command: what was run; by default this program with its arguments.
        gpu: name of the GPU that is measured, if one is.

    """
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {
        "kind": kind,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if changed is None else bool(changed),
        "date": now(),
        "machine": describe() | ({"gpu": gpu} if gpu else {}),
        "command": shlex.join(shown(word) for word in command or ("python", *sys.argv)),
        "states": states_of(kind),
    }


def states_of(kind: str) -> dict[str, int]:
    """Return the newest state of each part that a kind of result depends on, counted from 1."""
    content = json.loads(STATES.read_text(encoding="utf-8"))
    return {part: len(content["parts"][part]) for part in content["kinds"][kind]["depends_on"]}


def result_folder(record: Mapping[str, Any], out: Path | None = None) -> Path:
    """Return the folder of the record's machine, or the one that was asked for, and make it if need be."""
    folder = out or RESULTS / machine_name(record["machine"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_result(record: Record, figures: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Write figures with their record as JSON, and return what was written; paths start at the project's root."""
    text = json.dumps({RECORD: record, **figures}, indent=1, ensure_ascii=False).replace(f"{ROOT}/", "")
    path.write_text(text + "\n", encoding="utf-8")
    return dict(json.loads(text))


def write_record(record: Record, path: Path) -> None:
    """Keep the record of a file that cannot hold one, or that another program writes."""
    target = path.parent / RECORDS
    kept = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    kept[path.name] = record
    target.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def machine_name(machine: Mapping[str, Any]) -> str:
    """Name a folder by the processor's brand, numbers and instruction sets, and the GPU's last word.

    Args:
        machine: as `onyxrank.machine.cpus.describe` tells it, with ``gpu`` where one was measured.

    """
    brand, *facts = str(machine["cpu_model"]).split(", ")
    words = [word for word in re.findall(r"[a-z0-9]+", brand.lower()) if word not in _MAKERS]
    numbers = [fact.removeprefix(f"{name} ") for name in _NUMBERS for fact in facts if fact.startswith(f"{name} ")]
    family = str(machine["machine_family"])
    gpu = str(machine.get("gpu") or "").lower().split()[-1:]
    parts = [*(words[:1] or ["cpu"]), *numbers, _FAMILIES.get(family, family), *gpu]
    return "-".join(part for part in parts if part)


def origin(record: Mapping[str, Any]) -> str:
    """Say when, at which commit and by which command a result was measured, for its page."""
    commit = f"commit {record['commit'][:7]}" if record["commit"] else "a commit that is not known"
    if record.get("recorded") == AFTERWARDS:
        return f"{record['date']}, kept with {commit}, by `{record['command']}` (recorded afterwards)"
    changed = " with changed files" if record["dirty"] else ""
    return f"{record['date']}, at {commit}{changed}, by `{record['command']}`"


def shown(word: str) -> str:
    """Write a word of a command for others: a path starts at the project's root, or is only its last part."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    path = Path(value)
    if path.is_absolute() and path.is_relative_to(ROOT):
        value = path.relative_to(ROOT).as_posix()
    elif path.is_absolute() or value.startswith("../"):
        value = path.name
    return f"{option}{equals}{value}"


def _git(*arguments: str) -> str | None:
    """Ask git; None where there is no repository, as in a source distribution."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
