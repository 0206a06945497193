"""The architecture ``cross``: one graph reads ``[CLS] history [SEP] item [SEP]`` with full attention.

1. The rows of all requests of a call are cut into micro-batches together.
2. A micro-batch with room left may be run together with micro-batches of other calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.batching import micro_batches, scatter
from onyxrank.architectures.call import Call, Step
from onyxrank.architectures.readout import margins_of
from onyxrank.errors import OnyxrankError
from onyxrank.request.timings import Stopwatch
from onyxrank.request.truncation import Limits
from onyxrank.sessions.arrays import on_host
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.shape_buckets import Sizes, most_rows

PAIR = Graph({"input_ids": np.int64, "attention_mask": np.int64, "token_type_ids": np.int64}, ("logits",))
"""Inputs and outputs of the graph: those of any sequence-pair classifier, so that other ONNX hosts run it too."""


class Cross(Architecture):
    """Scores pairs of history and item with one graph, of role ``model``; see `Architecture` for the arguments."""

    name = "cross"
    graphs: ClassVar[Mapping[str, Graph]] = {"model": PAIR}

    def plan(self, call: Call) -> Iterator[Step]:
        """Cut the rows of all requests into micro-batches; see `Architecture.plan`."""
        if not call.requests:
            return
        groups = micro_batches(call.pair_lengths, self.limits.micro_batch_tokens, self.limits.at_once)
        for number, rows in enumerate(groups):
            width = int(call.pair_lengths[rows[0]])
            joint = self.limits.micro_batch_tokens if self.limits.shared else 0
            yield PairStep(call=call, key=number, rows=rows, width=width, joint_tokens=joint, cross=self)

    @classmethod
    def largest(cls, role: str, limits: Limits, micro_batch_tokens: int) -> Sizes:
        """See `Architecture.largest`."""
        return Sizes(most_rows(micro_batch_tokens), limits.sequence_tokens)


@dataclass(slots=True, eq=False, kw_only=True)
class PairStep(Step):
    """Scores one micro-batch of pairs.

    Attributes:
        cross: the architecture that made the step.

    """

    cross: Cross

    def run(self, together: Sequence[Step], watch: Stopwatch) -> list[OnyxrankError | None]:
        """Run the pairs of all steps as one micro-batch; see `Step.run`."""
        with watch.stage("batch"):
            width = max(step.width for step in together)
            parts = [pair_feeds(step.call, step.rows, self.cross.pad_id, width) for step in together]
            feeds = {name: np.concatenate([part[name] for part in parts]) for name in PAIR.inputs}
        with watch.stage("run"):
            [logits] = self.cross.sessions["model"].run(feeds)
        ends = np.cumsum([len(step.rows) for step in together])
        margins = margins_of(on_host(logits), self.cross.head, int(ends[-1]))
        return [
            step.call.keep(step.rows, own) for step, own in zip(together, np.split(margins, ends[:-1]), strict=True)
        ]


def pair_feeds(call: Call, rows: NDArray[np.intp], pad_id: int, width: int = 0) -> dict[str, NDArray[np.int64]]:
    """Build the inputs of the graph for some rows of a call, int64 [rows, width] each.

    Args:
        call: the call that the rows belong to.
        rows: numbers of the rows, in the order in which they become rows of the micro-batch.
        pad_id: token id to pad with.
        width: smallest number of columns; there are more if a pair is longer.

    """
    owners = call.request_of[rows]
    history_lengths = call.histories.lengths[owners]
    lengths = call.pair_lengths[rows]
    columns = np.arange(max(width, int(lengths.max())))
    input_ids = np.full((len(rows), len(columns)), pad_id, dtype=np.int64)
    scatter(input_ids, call.histories, owners, np.zeros_like(history_lengths))
    scatter(input_ids, call.items, rows, history_lengths)
    attended = columns < lengths[:, None]
    typed = attended & (columns >= history_lengths[:, None])
    return {
        "input_ids": input_ids,
        "attention_mask": attended.astype(np.int64),
        "token_type_ids": typed.astype(np.int64),
    }
