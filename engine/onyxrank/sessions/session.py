"""What is asked of a graph that can be run, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from onyxrank.sessions.arrays import Array, Feeds


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What a session is and really runs on.

    Attributes:
        providers: the session's own list of execution providers by onnxruntime's names, the preferred one first.
        threads: number of threads that one run uses.
        onnxruntime_version: version of the runtime.
        options: session and provider options that differ from the defaults.
        nodes: number of the graph's nodes by onnxruntime's name of the provider that runs them; empty on the CPU, and
            if onnxruntime does not tell.

    """

    providers: tuple[str, ...]
    threads: int
    onnxruntime_version: str
    options: Mapping[str, str]
    nodes: Mapping[str, int] = field(default_factory=dict)


class Session(Protocol):
    """One graph that can be run. Safe to share between threads."""

    def run(self, feeds: Feeds) -> list[Array]:
        """Run the graph on arrays by input name and return its outputs in the order of `Graph.outputs`."""

    def info(self) -> SessionInfo:
        """Say what the session is and really runs on."""

    def close(self) -> None:
        """Free the graph. A later `run` is an error; closing again is not."""
