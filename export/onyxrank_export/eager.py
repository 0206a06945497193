"""Eager PyTorch over the weights of a bundle or run: what the engine is measured against.

`ReferenceLoop` is the straightforward implementation: one item at a time, padded to a fixed length, as the
documentation of tokenizer and model shows it. `SortedBatches` is a careful one: it tokenizes the whole list in one
call, sorts it by length and runs dynamically padded batches of the size that `prepare` measured to be the fastest; in
fp32, bfloat16 or float16, on the CPU or a GPU, eager or compiled. Both take texts and give a sorted ranking, so both
include the tokenization.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import pair_feeds
from onyxrank.architectures.readout import Readout, margins_of
from onyxrank.bundle.manifest import MANIFEST_NAME
from onyxrank.bundle.opening import open_bundle
from onyxrank.errors import BundleError
from onyxrank.loading.parts import load_encoder
from onyxrank.machine.cpus import has_bf16, usable_cpus
from onyxrank.measure.requests import Request
from onyxrank.measure.ways import BATCHES, LOOP, WEIGHTS, Say, Way
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.truncation import HISTORY_SEPARATOR
from onyxrank_export.training.base import load_checkpoint, text_encoder
from onyxrank_export.training.run import read_run

BATCH_SIZES = (4, 8, 16, 32, 64)
_SEARCH_ITEMS = 100
_WARMUP_ITEMS = 4

Precision = Literal["fp32", "bf16", "fp16"]
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Ranked = list[tuple[int, float]]
"""Index and probability, best first."""


@dataclass(frozen=True, slots=True)
class EagerModel:
    """A classifier in evaluation mode with its tokenizer.

    Attributes:
        model: the classifier, in fp32.
        tokenizer: the Hugging Face tokenizer of the same folder.
        encoder: the engine's text encoder under the folder's limits, which gives the same token ids.

    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    encoder: TextEncoder

    @property
    def head(self) -> str:
        """How logits become a probability: ``softmax`` or ``sigmoid``, as a manifest names it."""
        return "sigmoid" if self.model.config.num_labels == 1 else "softmax"

    def facts(self) -> dict[str, object]:
        """What every way of running the model has in common: threads, and transformers' attention implementation."""
        return {"threads": torch.get_num_threads(), "attention": str(self.model.config._attn_implementation)}


def load_eager(folder: str | Path) -> EagerModel:
    """Load the PyTorch model of a bundle or run folder.

    Raises:
        BundleError: if the bundle is damaged, or holds no weights that PyTorch could load.
        RunError: if it is neither a bundle nor a finished run.

    """
    folder = Path(folder)
    is_bundle = (folder / MANIFEST_NAME).is_file()
    if is_bundle and not (folder / WEIGHTS).is_file():
        raise BundleError(f"{folder} has no {WEIGHTS} for PyTorch to run; export the bundle again")
    limits = None if is_bundle else read_run(folder).limits
    checkpoint = load_checkpoint(folder)
    encoder = load_encoder(open_bundle(folder)) if limits is None else text_encoder(checkpoint.tokenizer, limits)
    return EagerModel(checkpoint.model.eval().float(), checkpoint.tokenizer, encoder)


def eager_ways(folder: Path, threads: int | None = None, say: Say = lambda _: None) -> Iterator[Way]:
    """Make the ways of running the model, each when the iterator comes to it; the function is an `EagerFactory`.

    They are the loop, the batches in fp32, and, where the CPU computes in it, the batches in bf16.

    Args:
        folder: a bundle or a run.
        threads: PyTorch's threads, for this whole process; by default as many as it may use CPUs.
        say: told the batch sizes that were tried.

    """
    torch.set_num_threads(threads or usable_cpus())
    eager = load_eager(folder)
    yield ReferenceLoop(eager)
    yield SortedBatches(eager, say=say)
    if has_bf16():
        yield SortedBatches(eager, precision="bf16", say=say)
    else:
        say("this CPU has no bf16: PyTorch would emulate it, and is measured in fp32 alone")


class ReferenceLoop:
    """Scores one item at a time, padded to a fixed length.

    That is the longest the limits allow, or once `prepare` was called, the longest pair of that request.

    Args:
        eager: the model.

    """

    name = LOOP

    def __init__(self, eager: EagerModel) -> None:
        self._eager = eager
        self._longest = eager.encoder.limits.sequence_tokens

    @property
    def settings(self) -> Mapping[str, object]:
        """The precision, rows, padding and threads that it runs with."""
        return {"precision": "fp32", "rows": 1, "padding": f"to {self._longest} tokens", **self._eager.facts()}

    def prepare(self, request: Request) -> None:
        """Pad to the longest pair of such requests from now on: padding to the limits would only cost time."""
        encoded = self._eager.encoder.encode(request.history, request.items)
        self._longest = len(encoded.history) + int(encoded.items.lengths.max())
        self.rank(request.first(_WARMUP_ITEMS))

    def rank(self, request: Request) -> Ranked:
        """Score one item after the other and sort."""
        model, tokenizer = self._eager.model, self._eager.tokenizer
        history = join_history(request.history)
        ranked = []
        for index, item in enumerate(request.items):
            inputs = tokenizer(
                history,
                f"{item.title} {item.description}",
                padding="max_length",
                max_length=self._longest,
                truncation=True,
                return_tensors="pt",
            )
            with torch.no_grad():
                logits = model(**inputs).logits
            ranked.append((index, _purchase_probability(logits, self._eager.head)))
        return sorted(ranked, key=lambda pair: pair[1], reverse=True)

    def score(self, request: Request) -> NDArray[np.float32]:
        """Probabilities in input order."""
        return _in_input_order(self.rank(request))

    def close(self) -> None:
        """Do nothing: the model is all it holds, and the other ways share that."""


class SortedBatches:
    """Tokenizes the whole list at once, sorts it by length and scores it in dynamically padded batches.

    Args:
        eager: the model; it is copied for any other precision or device than fp32 on the CPU.
        precision: precision of weights and products.
        device: the device, by PyTorch's name.
        compiled: whether torch.compile compiles it, for any shape.
        say: told the batch sizes that were tried.

    """

    def __init__(
        self,
        eager: EagerModel,
        *,
        precision: Precision = "fp32",
        device: str = "cpu",
        compiled: bool = False,
        say: Say = lambda _: None,
    ) -> None:
        self.name = "_".join(
            [BATCHES, *([precision] if precision != "fp32" else []), *(["compiled"] if compiled else [])]
        )
        self._eager = eager
        self._precision, self._device, self._compiled = precision, device, compiled
        self._model: Any = eager.model
        if precision != "fp32" or device != "cpu":
            self._model = deepcopy(eager.model).to(device, _TYPES[precision])
        if compiled:
            self._model = torch.compile(self._model, dynamic=True)
        self._pad_id = int(eager.model.config.pad_token_id or 0)
        self._rows = BATCH_SIZES[0]
        self._best: dict[Request, int] = {}
        self._say = say

    @property
    def settings(self) -> Mapping[str, object]:
        """The precision, rows of a batch, padding, device and threads that it runs with."""
        padding = "to the longest of the batch"
        place = (
            {"device": self._device, "compiled": self._compiled} if self._device != "cpu" or self._compiled else {}
        )
        return {"precision": self._precision, "rows": self._rows, "padding": padding, **place, **self._eager.facts()}

    def prepare(self, request: Request) -> None:
        """Warm up, and measure which batch size is best for such requests (once for each request)."""
        sample = request.first(_SEARCH_ITEMS)
        self.rank(sample.first(_WARMUP_ITEMS))
        if sample not in self._best:
            rows, seconds = best_micro_batch(lambda rows: self._score(sample, rows), len(sample.items))
            tried = ", ".join(f"{size}: {1000 * taken:.0f} ms" for size, taken in seconds.items())
            self._say(f"{self.name}, rows of a batch for {len(sample.items)} items: {tried}; takes {rows}")
            self._best[sample] = rows
        self._rows = self._best[sample]

    def rank(self, request: Request) -> Ranked:
        """Score the list in batches and sort."""
        scores = self._score(request, self._rows).tolist()
        return sorted(enumerate(scores), key=lambda pair: pair[1], reverse=True)

    def score(self, request: Request) -> NDArray[np.float32]:
        """Probabilities in input order."""
        return self._score(request, self._rows)

    def close(self) -> None:
        """Release the copy of the model."""
        self._model = self._eager.model

    def _score(self, request: Request, size: int) -> NDArray[np.float32]:
        call = Call([self._eager.encoder.encode(request.history, request.items)])
        order = np.argsort(-call.pair_lengths, kind="stable")
        scores = np.empty(len(order), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                feeds = {
                    name: torch.from_numpy(array).to(self._device)
                    for name, array in pair_feeds(call, chosen, self._pad_id).items()
                }
                logits = self._model(**feeds).logits
                margins = margins_of(logits.float().cpu().numpy(), self._eager.head, len(chosen))
                scores[chosen] = Readout().probabilities(margins)
        return scores


def best_micro_batch(
    run: Callable[[int], object],
    items: int,
    *,
    sizes: Sequence[int] = BATCH_SIZES,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, dict[int, float]]:
    """Try batch sizes up to all items at once, one run each, and take the fastest.

    Args:
        run: runs the request in batches of so many rows.
        items: how many items the request has.
        sizes: the sizes to try beside all items at once; those at least as large as the list are left out.
        clock: gives the time in seconds.

    Returns:
        The fastest size, and the seconds that each took.

    """
    seconds = {}
    for size in [*(size for size in sizes if size < items), items]:
        start = clock()
        run(size)
        seconds[size] = clock() - start
    return min(seconds, key=lambda size: seconds[size]), seconds


def join_history(events: Sequence[str]) -> str:
    """Join events to one text, of which the tokenizer makes the tokens that the engine makes of the events."""
    return f" {HISTORY_SEPARATOR} ".join(events)


def _purchase_probability(logits: Any, head: str) -> float:
    if head == "sigmoid":
        return float(torch.sigmoid(logits)[0, 0])
    return float(torch.softmax(logits, dim=1)[0, 1])


def _in_input_order(ranked: Ranked) -> NDArray[np.float32]:
    return np.array([score for _, score in sorted(ranked)], dtype=np.float32)
