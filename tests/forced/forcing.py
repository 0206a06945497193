"""Runs of the whole suite on a machine that it is not on, or behind a gate that has made up its mind.

Two environment variables, read here and nowhere in the product:

- ``ONYXRANK_TEST_FAMILY=avx2|avx512`` hides the instruction sets above that family, so that the engine takes this
  CPU for one without them. Only what a CPU has can be hidden: graphs made for VNNI would saturate without it.
- ``ONYXRANK_TEST_GATE=pass|refuse`` has the quality gate at its real limits pass or refuse every graph. A test that
  brings limits of its own is judged by those, and one that asks for the fixture `real_gate` is judged as ever.

The modules are changed as soon as they are imported, here and in every Python that a test starts: `begin` puts the
folder of this file on PYTHONPATH, where ``sitecustomize.py`` calls `begin` again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

FAMILY, GATE = "ONYXRANK_TEST_FAMILY", "ONYXRANK_TEST_GATE"
HIDDEN = {
    "avx512": ("avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx"),
    "avx2": ("avx512", "avx_vnni", "amx"),
}
"""How the names begin of the instruction sets that a CPU of the family lacks."""
_CPUS, _GATE = "onyxrank.machine.cpus", "onyxrank_export.conversion.quantized_variants"


def begin() -> None:
    """Force what the environment asks for; nothing if it asks for nothing."""
    family, gate = os.environ.get(FAMILY), os.environ.get(GATE)
    changes = {}
    if family:
        if family not in HIDDEN:
            raise SystemExit(f"{FAMILY} must be one of {', '.join(HIDDEN)}, not {family!r}")
        changes[_CPUS] = lambda cpus: hide(cpus, family)
    if gate:
        if gate not in ("pass", "refuse"):
            raise SystemExit(f"{GATE} must be pass or refuse, not {gate!r}")
        changes[_GATE] = lambda module: decide(module, passes=gate == "pass")
    if not changes or any(isinstance(finder, _Changing) for finder in sys.meta_path):
        return
    here = str(Path(__file__).parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if here not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, paths)])
    sys.meta_path.insert(0, _Changing(changes))
    for name in changes.keys() & sys.modules.keys():
        changes[name](sys.modules[name])


def hide(cpus: ModuleType, family: str) -> None:
    """Take the instruction sets above a family out of what the system tells of its CPUs."""
    honest = cpus._read

    def read(path: Path) -> str:
        text = honest(path)
        return "".join(map(without, text.splitlines(keepends=True))) if path == cpus._CPUINFO else text

    def without(line: str) -> str:
        if not line.startswith("flags"):
            return line
        return " ".join(word for word in line.split() if not word.startswith(HIDDEN[family])) + "\n"

    cpus._read = read
    found = cpus.machine_family()
    if found != family:
        raise SystemExit(f"{FAMILY}: this CPU cannot pass for one of family {family}; it would be of {found}")


def decide(module: ModuleType, *, passes: bool) -> None:
    """Have the gate at its real limits say the same of every graph."""
    from dataclasses import replace

    from onyxrank_export.conversion.gate import FIGURES, PASSED, REFUSED, GateLimits

    honest = module.judge

    def judge(margins, reference, sample, limits, error):
        verdict = honest(margins, reference, sample, limits, error)
        if limits != GateLimits() or not verdict.numbers:
            return verdict
        outcome = PASSED if passes else REFUSED
        figures = {name: replace(getattr(verdict, name), outcome=outcome) for name in FIGURES}
        return replace(verdict, **figures)

    module.judge = judge


class _Changing(MetaPathFinder):
    """Finds the modules to change as anyone would, and changes each when it has been executed."""

    def __init__(self, changes: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._changes:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            self._changes[name](module)

        spec.loader.exec_module = execute_and_change
        return spec
