"""Who takes part in the race, and in which of its workloads; each peer started in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from model import WORK, say
from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank.machine.cpus import has_bf16
from peers.environments import OWN, python_of
from peers.process import PeerFailed, PeerProcess

PEERS = WORK / "peers"
ONLY = {
    "bulk": (
        "PyTorch fp32",
        "PyTorch bf16",
        "sentence-transformers onnx int8",
        "sentence-transformers openvino",
        "onyxrank",
        "history",
    )
}
"""The workloads that are not for everyone, and names, or parts of names, of the peers that they are for. The others
would take an hour, or all the memory."""
REFERENCE = "PyTorch fp32"
SHARED_REFERENCE = "shared-history fp32"

STARTERS = (
    *(
        (OWN, "pytorch_peer", name, CROSS, name)
        for name in (
            *("PyTorch, one by one", "PyTorch fp32", "PyTorch bf16", "torch.compile fp32", "torch.compile bf16"),
            *("optimum onnxruntime", "onnxruntime, one batch"),
        )
    ),
    *(
        ("sentence_transformers", "st_peer", name, CROSS, name)
        for name in (
            *("sentence-transformers torch fp32", "sentence-transformers torch bf16"),
            *("sentence-transformers openvino", "sentence-transformers openvino int8"),
        )
    ),
    *(
        ("sentence_transformers_onnx", "st_peer", name, CROSS, name)
        for name in ("sentence-transformers onnx", "sentence-transformers onnx int8")
    ),
    ("flashrank", "flashrank_peer", "FlashRank", CROSS, "FlashRank"),
    ("fastembed", "fastembed_peer", "fastembed", CROSS, "fastembed"),
    ("infinity", "infinity_peer", "infinity optimum", CROSS, "infinity optimum"),
    (OWN, "onyxrank_peer", "onyxrank", CROSS, "onyxrank cross, tuned"),
    (OWN, "onyxrank_peer", "onyxrank fp32", SHARED_HISTORY, SHARED_REFERENCE),
    (OWN, "onyxrank_peer", "onyxrank", SHARED_HISTORY, "onyxrank shared-history, tuned"),
    (OWN, "onyxrank_peer", "onyxrank, history seen before", SHARED_HISTORY, "… history seen before"),
)
"""Environment, module, way, architecture, and the name in the tables."""


@dataclass
class Runner:
    """A peer in the race, and what was measured of it."""

    name: str
    architecture: str
    process: PeerProcess
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """The peer as JSON values."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "settings": self.process.settings,
            "results": self.results,
            "failure": self.failure,
        }


def takes_part(runner: Runner, workload: str) -> bool:
    """Say whether a workload is for that peer."""
    return workload not in ONLY or any(part in runner.name for part in ONLY[workload])


def start(
    checkpoint: Path,
    bundles: Mapping[str, Path],
    threads: int,
    only: Sequence[str],
    closing: ExitStack,
) -> tuple[list[Runner], dict[str, str]]:
    """Start every peer; those that do not start are named with the reason.

    Args:
        checkpoint: what the peers load.
        bundles: what onyxrank loads, by architecture.
        threads: of each peer.
        only: names, or parts of names, of those that take part; all if there are none.
        closing: closes the processes.

    """
    runners, failures = [], {}
    for environment, module, way, architecture, name in STARTERS:
        if only and not any(part in name for part in only):
            continue
        if "bf16" in name and not has_bf16():
            failures[name] = "this CPU has no bf16: emulated, it is slower than fp32"
            continue
        say(f"starting {name}")
        folder = bundles[architecture] if module == "onyxrank_peer" else checkpoint
        try:
            log = PEERS / f"{name.replace(' ', '_')}.log"
            process = PeerProcess(python_of(environment, PEERS), module, way, folder, threads, log)
        except (PeerFailed, CalledProcessError) as error:  # the latter comes of an environment that cannot be made
            failures[name] = str(error)
            say(f"{name} does not start: {error}")
            continue
        closing.callback(process.close)
        runners.append(Runner(name, architecture, process))
    return runners, failures
