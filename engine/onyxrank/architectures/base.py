"""The base class of architectures, which says what a kind of model has to decide.

To add an architecture, write a module with a subclass of `Architecture` and name it in `registry`. Nothing else in
the engine knows architectures apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.call import Call, Step
from onyxrank.architectures.readout import Readout
from onyxrank.architectures.state_cache import StateCache
from onyxrank.request.known import KnownItems
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.request.truncation import Limits
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.session import Session
from onyxrank.sessions.shape_buckets import Sizes

DEFAULT_CACHE_BYTES = 64 * 2**20
"""Most bytes of states to keep by default: about 17 histories of 192 tokens with MiniLM-L6, or 4 with BERT-base."""


class Layout(NamedTuple):
    """How the sessions of one graph share the CPUs.

    Attributes:
        threads: number of threads of each session.
        sessions: number of sessions, each of which does one run at a time.

    """

    threads: int
    sessions: int = 1


class Shares(NamedTuple):
    """What the margins of a request are made of; all shares of an item add up to its margin.

    Attributes:
        by_event: by what it is called, what each event adds to each margin: float32 [events, items].
        by_item: by what it is called, what each margin gets whatever the history is: float32 [items].

    """

    by_event: Mapping[str, NDArray[np.float32]]
    by_item: Mapping[str, NDArray[np.float32]]


class Architecture(ABC):
    """Cuts calls into steps, which score them. Safe to share between threads.

    Args:
        sessions: the open graphs by role; they are closed with the architecture.
        head: what the model's logits mean, one of `readout.HEADS`.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.
        cache_bytes: most bytes of states to keep between requests, if the architecture computes states of histories.
        readout: what makes probabilities of margins; by default the logistic function.

    Attributes:
        name: name of the architecture in a manifest.
        graphs: inputs and outputs of each graph, by the graph's role.
        default_micro_batch_tokens: the budget of a micro-batch where nobody chose one. It was measured to be fast on
            most CPUs (benchmarks/NOTES.md).
        states: what is kept of histories between requests; an architecture that computes nothing from them alone
            leaves it empty.

    """

    name: ClassVar[str]
    graphs: ClassVar[Mapping[str, Graph]]
    default_micro_batch_tokens: ClassVar[int] = 2048

    def __init__(
        self,
        sessions: Mapping[str, Session],
        head: str,
        limits: BatchLimits,
        pad_id: int = 0,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        readout: Readout | None = None,
    ) -> None:
        self.sessions = sessions
        self.head = head
        self.limits = limits
        self.pad_id = pad_id
        self.states: StateCache[Any] = StateCache(cache_bytes)
        self.readout = readout or Readout()

    @abstractmethod
    def plan(self, call: Call) -> Iterable[Step]:
        """Cut a call into steps that score every row once; a step comes after those that it needs."""

    def prepare(self, call: Call) -> Step | None:
        """Make the step that computes the state of a call's only history before its items are known.

        Returns:
            The step, or None if the architecture computes nothing from a history alone.

        """
        return None

    @classmethod
    def read_parts(cls, folder: Path) -> Mapping[str, Any]:
        """Read what the architecture needs besides its graphs, as further arguments of its constructor.

        Args:
            folder: a verified bundle's folder, or a run's.

        Raises:
            BundleError: if a file is missing or damaged.

        """
        return {}

    @classmethod
    def known_items(cls, folder: Path) -> KnownItems | None:
        """Read the items that the model knows by their ids; None if it reads histories and items as texts of pairs.

        Args:
            folder: as of `read_parts`.

        Raises:
            BundleError: if a file is missing or damaged.

        """
        return None

    @classmethod
    def layout(cls, role: str, threads: int, at_once: int) -> Layout:
        """Choose how the sessions of a graph share the CPUs.

        Args:
            role: role of the graph.
            threads: number of threads of one run, as the setting says.
            at_once: most micro-batches of a request that run at once, as the setting says.

        """
        return Layout(threads, at_once)

    @classmethod
    def largest(cls, role: str, limits: Limits, micro_batch_tokens: int) -> Sizes | None:
        """Return the sizes of the largest arrays that a graph will run on, or None if they are not known beforehand.

        Args:
            role: role of the graph.
            limits: how many tokens of a history and of an item the model reads.
            micro_batch_tokens: most tokens of one run.

        """
        return None

    def shares(self, request: EncodedRequest) -> Shares | None:
        """Say what each margin of a request is made of, on the caller's thread.

        Returns:
            The shares, or None if the architecture's margins are no sums: then `loading.explaining` leaves events out
            one by one.

        """
        return None

    def facts(self) -> dict[str, object]:
        """Report what changes while the architecture serves, such as its caches, as JSON values."""
        return {}

    def score(self, requests: Sequence[EncodedRequest]) -> list[NDArray[np.float32]]:
        """Give the probabilities of `margins`: float32 [items] in [0, 1] for each request, in input order."""
        return [self.readout.probabilities(margins) for margins in self.margins(requests)]

    def margins(
        self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None
    ) -> list[NDArray[np.float32]]:
        """Score every item of every request now, on the caller's thread.

        Args:
            requests: the requests; a micro-batch may hold rows of several.
            watch: stopwatch to add the time of the stages ``history``, ``batch`` and ``run`` to.

        Returns:
            For each request the margins of its items in input order: float32 [items].

        Raises:
            NonFiniteScore: if the model answers NaN or infinity; it names the item.

        """
        watch = watch or Stopwatch()
        call = Call(requests)
        with watch.stage("batch"):
            call.add(self.plan(call))
        while (step := call.peek()) is not None:
            call.begin(step)
            [fault] = step.run([step], watch)
            if fault is not None:
                raise fault
            call.finish(step)
        unscored = call.missing()
        if unscored is not None:
            raise unscored
        return call.results()

    def close(self) -> None:
        """Close the sessions and let go of the states; the architecture can then score nothing more."""
        for session in self.sessions.values():
            session.close()
        self.states.clear()
