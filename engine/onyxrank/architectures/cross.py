"""Cross."""

from __future__ import annotations

from collections.abc import Sequence

from onyxrank.architectures.base import Architecture, _keep
from onyxrank.architectures.batching import BatchLimits, MicroBatch, pad, plan
from onyxrank.errors import OnyxrankError
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.scheduling.work import Piece, Work
from onyxrank.sessions.graph import Feeds, Graph
from onyxrank.sessions.session import Session

PAIR = Graph(("input_ids", "attention_mask", "token_type_ids"), ("logits",))
"""The ordinary graph over ``[CLS] history [SEP] item [SEP]``, which other ONNX hosts run too."""


class Cross(Architecture):
    """One graph over ``[CLS] history [SEP] item [SEP]``.

    Args:
        session: the graph, inputs ``input_ids, attention_mask, token_type_ids``, output ``logits``.
        head: ``softmax`` over 2 logits (class 1 is the purchase) or ``sigmoid`` of 1.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.

    """

    def __init__(self, session: Session, head: str, limits: BatchLimits, pad_id: int = 0) -> None:
        self._session = session
        self._head = head
        self._limits = limits
        self._pad_id = pad_id
        self.joint_tokens = limits.micro_batch_tokens

    def plan(self, requests: Sequence[EncodedRequest]) -> Work:
        """Cut the rows of all requests into micro-batches; see `Architecture.plan`."""
        work = Work(requests)
        if requests:
            lengths = work.rows.lengths
            work.add(
                Piece(work=work, stage="run", request=0, rows=group, longest=int(lengths[group[0]]))
                for group in plan(lengths, self._limits.micro_batch_tokens, self._limits.at_once)
            )
        return work

    def run(self, pieces: Sequence[Piece], watch: Stopwatch) -> Sequence[OnyxrankError | None]:
        """Run pieces in one micro-batch; see `Architecture.run`."""
        with watch.stage("batch"):
            longest = max(piece.longest for piece in pieces)
            batches = [pad(piece.work.rows, piece.rows, self._pad_id, longest) for piece in pieces]
            feeds = pair_feeds(MicroBatch.stack(batches))
        with watch.stage("run"):
            [logits] = self._session.run(feeds)
        return _keep(pieces, logits, self._head)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def pair_feeds(batch: MicroBatch) -> Feeds:
    """Inputs of the graph over pairs."""
    return {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": batch.token_type_ids,
    }
