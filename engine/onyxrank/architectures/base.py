"""What every architecture does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.readout import probabilities
from onyxrank.errors import BundleError, NonFiniteScore, OnyxrankError
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.scheduling.work import Piece, Work


class Architecture(ABC):
    """Scores encoded requests. Safe to share between threads.

    Attributes:
        joint_tokens: most tokens of a micro-batch that pieces of several calls share; 0 if they cannot.

    """

    joint_tokens = 0

    @abstractmethod
    def plan(self, requests: Sequence[EncodedRequest]) -> Work:
        """Cut the requests of a call into pieces."""

    @abstractmethod
    def run(self, pieces: Sequence[Piece], watch: Stopwatch) -> Sequence[OnyxrankError | None]:
        """Run pieces together and write the scores into their work.

        Args:
            pieces: one, or of several calls within `joint_tokens`.
            watch: where to add the time of the stages ``history``, ``batch`` and ``run``.

        Returns:
            What is wrong with the answer to each piece; such pieces have no scores.

        Raises:
            OnyxrankError: if nothing could be run.

        """

    def score(self, requests: Sequence[EncodedRequest], watch: Stopwatch | None = None) -> list[NDArray[np.float32]]:
        """Score every item of every request now, on the caller's thread.

        Args:
            requests: the requests; with cross, micro-batches may hold rows of several.
            watch: where to add the time of the stages ``history``, ``batch`` and ``run``.

        Returns:
            Per request, float32 probabilities in [0, 1] in input order.

        Raises:
            NonFiniteScore: if the model answers NaN or infinity; names the item.

        """
        watch = watch or Stopwatch()
        with watch.stage("batch"):
            work = self.plan(requests)
        while (piece := work.peek()) is not None:
            work.begin(piece)
            [fault] = self.run([piece], watch)
            if fault is not None:
                raise fault
            work.finish(piece)
        return work.results()

    def plan_history(self, history: NDArray[np.int32]) -> Work | None:
        """What computes a history's state from its token ids, for ``states[0]``; None where there is none."""
        return None

    def facts(self) -> dict[str, object]:
        """What changes while it serves, as JSON values."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Close the sessions."""


def _keep(pieces: Sequence[Piece], logits: NDArray[np.float32], head: str) -> list[OnyxrankError | None]:
    """Write the probabilities of a micro-batch into the work of its pieces, and say what is wrong with which."""
    ends = np.cumsum([len(piece.rows) for piece in pieces])
    expected = (int(ends[-1]), 2 if head == "softmax" else 1)
    if logits.shape != expected:
        raise BundleError(
            f"the graph answers logits of shape {list(logits.shape)} where the head {head!r} needs "
            f"{list(expected)}; export the bundle again"
        )
    faults: list[OnyxrankError | None] = []
    for piece, own in zip(pieces, np.split(logits, ends[:-1]), strict=True):
        broken = piece.rows[~np.isfinite(own).all(axis=1)]
        faults.append(_not_finite(piece.work, int(broken.min())) if len(broken) else None)
        if not len(broken):
            piece.work.scores[piece.rows] = probabilities(own, head)
    return faults


def _not_finite(work: Work, row: int) -> NonFiniteScore:
    request = int(np.searchsorted(work.starts, row, side="right")) - 1
    index = row - int(work.starts[request])
    place = f"items[{index}]" if len(work.requests) == 1 else f"items[{index}] of requests[{request}]"
    return NonFiniteScore(
        f"the model answered NaN or infinity for {place}; check the bundle with `onyxrank inspect`", index=index
    )
