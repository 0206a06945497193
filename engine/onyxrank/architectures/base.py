"""What every kind of model decides, in one object.

To add an architecture, write a module with a subclass of `Architecture` and name it in `registry`; nothing else of
the engine knows architectures apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.call import Call, Step
from onyxrank.architectures.readout import Readout
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.request.truncation import Limits
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.session import Session
from onyxrank.sessions.shape_buckets import Sizes

DEFAULT_CACHE_BYTES = 64 * 2**20
"""Of the states kept between requests: about 17 histories of 192 tokens with MiniLM-L6, 4 with BERT-base."""


class Layout(NamedTuple):
    """How sessions share the CPUs.

    Attributes:
        threads: number of threads of one session.
        sessions: number of sessions, each for one run at a time.

    """

    threads: int
    sessions: int = 1


class Architecture(ABC):
    """Cuts calls into steps that score them. Safe to share between threads.

    Args:
        sessions: the open graphs by role; closed with the architecture.
        head: what the model's logits mean, one of `readout.HEADS`.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.
        cache_bytes: most bytes of the states of histories to keep between requests, where it has such.
        readout: what makes probabilities of margins.

    Attributes:
        name: what a manifest calls it.
        graphs: the edges of its graphs, by role.
        default_micro_batch_tokens: most tokens of a run that is fast on most CPUs (benchmarks/NOTES.md).

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
        self.cache_bytes = cache_bytes
        self.readout = readout or Readout()

    @abstractmethod
    def plan(self, call: Call) -> Iterable[Step]:
        """Cut a call into steps, each after those that it needs."""

    def prepare(self, call: Call) -> Step | None:
        """The step that computes the state of a call's only history, before the items come; None if there is none."""
        return None

    @classmethod
    def layout(cls, role: str, threads: int, at_once: int) -> Layout:
        """How the sessions of a graph share the CPUs, where so many micro-batches run at once on so many threads."""
        return Layout(threads, at_once)

    @classmethod
    def largest(cls, role: str, limits: Limits, micro_batch_tokens: int) -> Sizes | None:
        """The largest arrays that a graph is given; None where its shapes are not known before."""
        return None

    def facts(self) -> dict[str, object]:
        """What changes while it serves, as JSON values."""
        return {}

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request now, on the caller's thread.

        Args:
            requests: the requests; micro-batches may hold rows of several.
            watch: where to add the time of the stages ``history``, ``batch`` and ``run``.

        Returns:
            Per request, float32 probabilities in [0, 1] in input order.

        Raises:
            NonFiniteScore: if the model answers NaN or infinity; names the item.

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
        return [self.readout.probabilities(margins) for margins in call.results()]

    def close(self) -> None:
        """Close the sessions."""
        for session in self.sessions.values():
            session.close()
