"""What differs between the architectures when they are converted: their graphs, and what these are calibrated on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from transformers import PreTrainedModel

from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import PAIR, pair_feeds
from onyxrank.architectures.registry import SHARED_HISTORY
from onyxrank.architectures.shared_history import SharedHistory, history_feeds, history_state, item_feeds
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.request.truncation import Limits
from onyxrank.sessions.arrays import Feeds
from onyxrank_export.conversion.cross_graph import can_write, write_cross_graph
from onyxrank_export.conversion.fp32 import export_fp32
from onyxrank_export.conversion.fusion import fuse
from onyxrank_export.conversion.half import write_half
from onyxrank_export.conversion.parity import check_parity, check_parity_of_two
from onyxrank_export.conversion.sessions import opened_session
from onyxrank_export.conversion.shared_graphs import products_per_graph, write_graphs

Files: TypeAlias = Mapping[str, Path]
"""Graph files by role."""

_GRAPHS = SharedHistory.graphs


class Conversion(Protocol):
    """The graphs of one model."""

    @property
    def products(self) -> Mapping[str, int]:
        """How many large products with constant weights each graph has, by role: all must become int8."""

    def write(self, folder: Path) -> dict[str, Files]:
        """Write the fp32 graphs to a folder: variants by name, first the one that is loaded and quantized."""

    def halve(self, source: Files, target: Files) -> None:
        """Write the fp16 graphs, for GPUs."""

    def parity(self, folder: Path, requests: Sequence[EncodedRequest], pad_id: int) -> dict[str, float]:
        """Check every graph in the folder against PyTorch; largest difference of a logit by name."""

    def calibration(
        self, files: Files, requests: Sequence[EncodedRequest], pad_id: int
    ) -> dict[str, Iterable[Feeds]]:
        """Inputs of each graph of a variant, by role, to be run through more than once."""


class CrossConversion:
    """One graph, plain and optimized.

    Args:
        model: the classifier.

    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        layers, hidden = model.config.num_hidden_layers, model.config.hidden_size
        self._written = can_write(model)
        # ELECTRA's embeddings may be narrower than its layers: one more product leads from the ones to the others.
        widened = getattr(model.config, "embedding_size", hidden) != hidden
        self.products = {"model": 6 * layers + widened}

    def write(self, folder: Path) -> dict[str, Files]:
        """Write ``model.onnx`` and ``model_fused.onnx``; see `Conversion.write`."""
        files = self._files(folder)
        export_fp32(self._model, files["fp32"]["model"])
        if self._written:
            write_cross_graph(self._model, files["fp32_fused"]["model"])
        else:
            fuse(files["fp32"]["model"], files["fp32_fused"]["model"], self._model.config)
        return files

    def halve(self, source: Files, target: Files) -> None:
        """Halve a graph that is made for GPUs, where there is one; see `Conversion.halve`."""
        if self._written:
            write_cross_graph(self._model, target["model"], for_gpus=True)
            source = target
        write_half(source["model"], target["model"])

    def parity(self, folder: Path, requests: Sequence[EncodedRequest], pad_id: int) -> dict[str, float]:
        """Check both; see `Conversion.parity`."""
        differences = {}
        for name, files in self._files(folder).items():
            with opened_session(files["model"], PAIR) as session:
                differences[name] = check_parity(self._model, session, requests, pad_id)
        return differences

    def calibration(
        self, files: Files, requests: Sequence[EncodedRequest], pad_id: int
    ) -> dict[str, Iterable[Feeds]]:
        """Pairs one at a time: nothing is padded, which would widen the ranges."""
        call = Call(requests)
        alone = np.arange(len(call.margins))[:, None]
        return {"model": [pair_feeds(call, row, pad_id) for row in alone]}

    @staticmethod
    def _files(folder: Path) -> dict[str, Files]:
        return {"fp32_fused": {"model": folder / "model_fused.onnx"}, "fp32": {"model": folder / "model.onnx"}}


class SharedHistoryConversion:
    """A graph of the history and one of the items, beside the ordinary one over pairs.

    Args:
        model: a `SharedHistoryForSequenceClassification`.
        limits: the longest history and item.

    """

    def __init__(self, model: PreTrainedModel, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self.products = products_per_graph(model.config.num_hidden_layers)

    def write(self, folder: Path) -> dict[str, Files]:
        """Write ``model.onnx``, which is no variant, ``history.onnx`` and ``items.onnx``; see `Conversion.write`."""
        files = self._files(folder)
        export_fp32(self._model, folder / "model.onnx")
        write_graphs(self._model, self._limits, files["history"], files["items"])
        return {"fp32": files}

    def halve(self, source: Files, target: Files) -> None:
        """Halve both; see `Conversion.halve`."""
        for role in source:
            write_half(source[role], target[role])

    def parity(self, folder: Path, requests: Sequence[EncodedRequest], pad_id: int) -> dict[str, float]:
        """Check the ordinary graph and the two together; see `Conversion.parity`."""
        files = self._files(folder)
        with opened_session(folder / "model.onnx", PAIR) as pairs:
            ordinary = check_parity(self._model, pairs, requests, pad_id)
        with (
            opened_session(files["history"], _GRAPHS["history"]) as history,
            opened_session(files["items"], _GRAPHS["items"]) as items,
        ):
            return {
                "fp32": check_parity_of_two(self._model, history, items, requests, pad_id),
                "model.onnx": ordinary,
            }

    def calibration(
        self, files: Files, requests: Sequence[EncodedRequest], pad_id: int
    ) -> dict[str, Iterable[Feeds]]:
        """Histories and items one at a time: nothing is padded."""
        histories = [history_feeds(request.history) for request in requests]
        return {"history": histories, "items": _ItemFeeds(files["history"], requests, pad_id)}

    @staticmethod
    def _files(folder: Path) -> Files:
        return {role: folder / f"{role}.onnx" for role in _GRAPHS}


def conversion_of(architecture: str, model: PreTrainedModel, limits: Limits) -> Conversion:
    """The conversion of a model of an architecture of `ARCHITECTURES`."""
    return SharedHistoryConversion(model, limits) if architecture == SHARED_HISTORY else CrossConversion(model)


class _ItemFeeds:
    """Inputs of the items graph, each history's state computed when it is asked for: kept, they would fill memory."""

    def __init__(self, history: Path, requests: Sequence[EncodedRequest], pad_id: int) -> None:
        self._history, self._requests, self._pad_id = history, requests, pad_id

    def __iter__(self) -> Iterator[Feeds]:
        with opened_session(self._history, _GRAPHS["history"]) as session:
            for request in self._requests:
                state = history_state(session, request.history)
                for index in range(len(request.items)):
                    yield item_feeds(request.items, np.array([index]), self._pad_id, state)
