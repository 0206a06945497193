"""Graphs opened as the engine opens them, closed at the end of a block."""

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
    """A graph on this machine's CPUs, by a provider that runs there; `exact_sums` as of `OrtSession`."""
    session = OrtSession(path, graph, PROVIDERS[provider], usable_cpus(), exact_sums=exact_sums)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def opened_architecture(
    name: str, head: str, files: Mapping[str, Path], pad_id: int, *, provider: str = "cpu", exact_sums: bool = False
) -> Iterator[Architecture]:
    """The graphs of an architecture, by role, put together; see `Architecture` and `OrtSession`."""
    architecture = ARCHITECTURES[name]
    limits = BatchLimits(micro_batch_tokens=architecture.default_micro_batch_tokens)
    with ExitStack() as stack:
        sessions = {
            role: stack.enter_context(opened_session(files[role], graph, provider=provider, exact_sums=exact_sums))
            for role, graph in architecture.graphs.items()
        }
        yield architecture(sessions, head, limits, pad_id)
