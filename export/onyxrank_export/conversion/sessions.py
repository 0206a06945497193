"""Opens graphs as the engine opens them, for the length of a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.machine.cpus import usable_cpus
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.ort_session import OrtSession
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.sessions.session import Session


@contextmanager
def opened_session(path: Path, graph: Graph, *, provider: str = "cpu", exact_sums: bool = False) -> Iterator[Session]:
    """Open one graph on all CPUs of this machine.

    Args:
        path: the graph's file.
        graph: its inputs and outputs.
        provider: name of a provider that runs on CPUs.
        exact_sums: as of `OrtSession`.

    """
    session = OrtSession(path, graph, PROVIDERS[provider], usable_cpus(), exact_sums=exact_sums)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def opened_architecture(
    name: str,
    head: str,
    files: Mapping[str, Path],
    folder: Path,
    pad_id: int,
    *,
    provider: str = "cpu",
    exact_sums: bool = False,
) -> Iterator[Architecture]:
    """Open the graphs of an architecture and put them together.

    Args:
        name: of the architecture.
        head: how logits become a probability, ``softmax`` or ``sigmoid``.
        files: the graphs' files by role.
        folder: the bundle's folder, with what else the architecture needs.
        pad_id: token id to pad with.
        provider: name of a provider that runs on CPUs.
        exact_sums: as of `OrtSession`.

    """
    architecture = ARCHITECTURES[name]
    limits = BatchLimits(micro_batch_tokens=architecture.default_micro_batch_tokens)
    with ExitStack() as stack:
        sessions = {
            role: stack.enter_context(opened_session(files[role], graph, provider=provider, exact_sums=exact_sums))
            for role, graph in architecture.graphs.items()
        }
        yield architecture(sessions, head, limits, pad_id, **architecture.read_parts(folder))
