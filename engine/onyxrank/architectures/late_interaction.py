"""The architecture ``late-interaction``: texts of events and items are encoded apart, each once.

1. One graph reads ``[CLS] text [SEP]`` and answers a unit vector. It reads only texts whose vectors are not kept.
2. The score combines the vectors of a history and its items, and what is known of both by their ids
   (`interaction`). It takes no graph.
3. The vectors of the texts that were used last are kept for later requests, of events and items alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture, Shares
from onyxrank.architectures.batching import micro_batches, pad
from onyxrank.architectures.call import NO_ROWS, Call, Step
from onyxrank.architectures.interaction import Floats, Interaction, Vectors, VectorTerm
from onyxrank.architectures.interaction_files import FOLDER, read_interaction, read_known
from onyxrank.architectures.state_cache import StateCache
from onyxrank.errors import BundleError, OnyxrankError
from onyxrank.request.known import NEW, KnownItems
from onyxrank.request.timings import Stopwatch
from onyxrank.request.token_ids import EncodedRequest, Events, Ragged
from onyxrank.request.truncation import Limits
from onyxrank.sessions.arrays import Feeds, on_host
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.shape_buckets import Sizes, most_rows

ENCODER = "encoder"
"""Role of the graph."""
EVENT = "event"
"""What the shares of all vector terms together are called: what an event's text says."""
TEXT = Graph({"input_ids": np.int64, "attention_mask": np.int64, "token_type_ids": np.int64}, ("sentence_embedding",))
"""Inputs and outputs of the graph: those of any sentence encoder, so that other ONNX hosts run it too."""
PLAIN = Interaction(known=0, vectors={"text": VectorTerm(weight=1.0, temperature=0.05, recency=0.0)})
"""The score of an encoder alone: the log-sum-exp of its cosines over 0.05."""


class LateInteraction(Architecture):
    """Scores the vectors of items against those of events; see `Architecture` for the other arguments.

    Args:
        interaction: the score.

    """

    name = "late-interaction"
    graphs: ClassVar[Mapping[str, Graph]] = {ENCODER: TEXT}
    states: StateCache[Floats]

    def __init__(self, *arguments: Any, interaction: Interaction = PLAIN, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.interaction = interaction

    def plan(self, call: Call) -> Iterator[Step]:
        """Make steps that encode the texts whose vectors are not kept, and one step for each request's score.

        See `Architecture.plan`.
        """
        texts = self._texts_of(call)
        steps = list(self._encode_steps(call, texts))
        yield from steps
        needs = frozenset(step.key for step in steps)
        for number, request in enumerate(call.requests):
            if len(request.items):
                rows = np.arange(call.starts[number], call.starts[number + 1])
                yield ScoreStep(
                    call=call,
                    key=number,
                    needs=needs,
                    rows=rows,
                    width=1,
                    interaction=self.interaction,
                    request=request,
                    texts=texts,
                )

    def prepare(self, call: Call) -> Step | None:
        """Make the step that encodes the events of a history, or none if all their vectors are kept."""
        texts = self._texts_of(call)
        missing = list(texts.missing)
        return self._encode_step(call, 0, missing, texts) if missing else None

    def shares(self, request: EncodedRequest) -> Shares:
        """Take the score apart; vectors that are not kept are computed again. See `Architecture.shares`."""
        call = Call([request])
        texts = self._texts_of(call)
        for step in self._encode_steps(call, texts):
            [fault] = step.run([step], Stopwatch())
            if fault is not None:
                raise fault
        events, items = vectors_of(request, texts)
        by_event: dict[str, Floats] = {}
        for name, told in self.interaction.by_event(events, items).items():
            kind = EVENT if name in self.interaction.vectors else name
            by_event[kind] = by_event[kind] + told if kind in by_event else told
        return Shares(by_event, self.interaction.by_item(items))

    @classmethod
    def read_parts(cls, folder: Path) -> Mapping[str, Any]:
        """Read the score; see `Architecture.read_parts`."""
        return {"interaction": read_interaction(folder / FOLDER)}

    @classmethod
    def known_items(cls, folder: Path) -> KnownItems:
        """See `Architecture.known_items`."""
        return read_known(folder / FOLDER)

    @classmethod
    def largest(cls, role: str, limits: Limits, micro_batch_tokens: int) -> Sizes:
        """See `Architecture.largest`."""
        return Sizes(most_rows(micro_batch_tokens), limits.item_tokens + 2)  # [CLS] and [SEP]

    def facts(self) -> dict[str, object]:
        """Report entries, bytes, hits and misses of the cache of texts' vectors."""
        return {"vector_cache": self.states.facts()}

    def _texts_of(self, call: Call) -> Texts:
        """Look the vectors of a call's texts up."""
        texts = Texts()
        for request in call.requests:
            if isinstance(request.state, Texts):
                texts.vectors.update(request.state.vectors)
            for sequences in (events_of(request).texts, request.items):
                for index in range(len(sequences)):
                    ids = sequences[index]
                    key = ids.tobytes()
                    if key in texts.vectors or key in texts.missing:
                        continue
                    vector = self.states.get(ids)
                    if vector is None:
                        texts.missing[key] = ids
                    else:
                        texts.vectors[key] = vector
        return texts

    def _encode_steps(self, call: Call, texts: Texts) -> Iterator[EncodeStep]:
        missing = list(texts.missing)
        lengths = np.array([len(ids) for ids in texts.missing.values()], np.int64)
        for place, rows in enumerate(micro_batches(lengths, self.limits.micro_batch_tokens, self.limits.at_once)):
            yield self._encode_step(call, place, [missing[row] for row in rows], texts)

    def _encode_step(self, call: Call, place: int, keys: Sequence[bytes], texts: Texts) -> EncodeStep:
        width = max(len(texts.missing[key]) for key in keys)
        return EncodeStep(
            call=call, key=(ENCODER, place), rows=NO_ROWS, width=width, late=self, keys=keys, texts=texts
        )


@dataclass(slots=True, eq=False)
class Texts:
    """The texts of a call, each by the bytes of its token ids.

    The call itself holds their vectors, so that what the cache lets go of meanwhile is not lost to it.

    Attributes:
        vectors: unit vectors, float32 [width] each; those of missing texts come when their step has run.
        missing: token ids of the texts whose vectors were not kept.

    """

    vectors: dict[bytes, Floats] = field(default_factory=dict)
    missing: dict[bytes, NDArray[np.int32]] = field(default_factory=dict)

    def rows(self, sequences: Ragged) -> Floats:
        """Stack the vectors of texts: float32 [texts, width]; there is one at least."""
        return np.stack([self.vectors[sequences[index].tobytes()] for index in range(len(sequences))])


@dataclass(slots=True, eq=False, kw_only=True)
class EncodeStep(Step):
    """Encodes one micro-batch of texts that are new.

    Attributes:
        late: the architecture that made the step.
        keys: the texts to encode.
        texts: the texts of the call, whose vectors the step adds to.

    """

    late: LateInteraction
    keys: Sequence[bytes]
    texts: Texts

    @property
    def cost(self) -> int:
        """Number of tokens of the run, padding included."""
        return self.width * len(self.keys)

    def run(self, together: Sequence[Step], watch: Stopwatch) -> list[OnyxrankError | None]:
        """Encode the texts and keep their vectors; see `Step.run`."""
        ids = [self.texts.missing[key] for key in self.keys]
        with watch.stage("batch"):
            feeds = text_feeds(Ragged.of(ids), np.arange(len(ids)), self.late.pad_id)
        with watch.stage("run"):
            [answer] = self.late.sessions[ENCODER].run(feeds)
        vectors = on_host(answer).astype(np.float32, copy=False)
        if not np.isfinite(vectors).all():
            return [BundleError("the encoder answers NaN or infinity; check the bundle with `onyxrank inspect`")]
        for key, each, vector in zip(self.keys, ids, vectors, strict=True):
            own = vector.copy()  # a view would keep the vectors of the whole micro-batch in memory
            self.texts.vectors[key] = own
            self.late.states.put(each, own)
        self.state = self.texts
        return [None]


@dataclass(slots=True, eq=False, kw_only=True)
class ScoreStep(Step):
    """Scores the items of one request from vectors.

    Attributes:
        interaction: the score.
        request: the request.
        texts: the texts of the call with their vectors.

    """

    interaction: Interaction
    request: EncodedRequest
    texts: Texts

    @property
    def cost(self) -> int:
        """One token, since next to a run of the graph a score takes no time."""
        return 1

    def run(self, together: Sequence[Step], watch: Stopwatch) -> list[OnyxrankError | None]:
        """Combine the vectors; see `Step.run`."""
        with watch.stage("rank"):
            margins = self.interaction.margins(*vectors_of(self.request, self.texts))
        return [self.call.keep(self.rows, margins)]


def vectors_of(request: EncodedRequest, texts: Texts) -> tuple[Vectors, Vectors]:
    """Give the events and the items of a request, of which there is one at least, as the score reads them."""
    events = events_of(request)
    items = texts.rows(request.items)
    history = texts.rows(events.texts) if len(events.texts) else np.zeros((0, items.shape[1]), np.float32)
    places = request.places if request.places is not None else np.full(len(items), NEW, np.int32)
    return Vectors(history, events.places), Vectors(items, places)


def events_of(request: EncodedRequest) -> Events:
    """Give the events of a request; one that has none apart has an empty history."""
    return request.events or Events(Ragged.of([]), np.zeros(0, np.int32))


def text_feeds(texts: Ragged, rows: NDArray[np.intp], pad_id: int, width: int = 0) -> Feeds:
    """Build the inputs of the graph for some texts, int64 [rows, tokens] each.

    Args:
        texts: token ids of many texts, special tokens included.
        rows: indices of the texts to take, in the order in which they become rows.
        pad_id: token id to pad with.
        width: smallest number of columns; there are more if a text is longer.

    """
    input_ids, attention_mask = pad(texts, rows, pad_id, width)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": np.zeros_like(input_ids)}
