"""An architecture without a model: an item's margin is how much longer it is than the history.

It shows what an architecture is made of; tests plug it in by one line of the registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.call import NO_ROWS, Call, Step
from onyxrank.architectures.state_cache import StateCache


@dataclass(frozen=True)
class Length:
    tokens: int
    nbytes: int = 8


class TitleLength(Architecture):
    name = "title-length"
    graphs: ClassVar[Mapping[str, Any]] = {}

    def plan(self, call: Call) -> Iterator[Step]:
        for number, request in enumerate(call.requests):
            history = self.prepare(call, number)
            rows = call.starts[number] + np.arange(len(request.items))
            width = int(request.items.lengths.max(initial=1))
            yield history
            yield CompareLengths(
                call=call, key=number, needs=frozenset({history.key}), rows=rows, width=width, history=history
            )

    def prepare(self, call: Call, number: int = 0) -> Step:
        ids = call.requests[number].history
        return ReadHistory(
            call=call, key=("history", number), rows=NO_ROWS, width=len(ids), states=self.states, ids=ids
        )

    def facts(self):
        return {"history_cache": self.states.facts()}


@dataclass(slots=True, eq=False, kw_only=True)
class ReadHistory(Step):
    states: StateCache
    ids: np.ndarray

    def run(self, together, watch):
        self.state = self.states.get(self.ids) or Length(len(self.ids))
        self.states.put(self.ids, self.state)
        return [None]


@dataclass(slots=True, eq=False, kw_only=True)
class CompareLengths(Step):
    history: ReadHistory

    def run(self, together, watch):
        margins = self.call.items.lengths[self.rows] - self.history.state.tokens
        return [self.call.keep(self.rows, margins.astype(np.float32))]
