"""The conversion of each architecture: which graphs it has, how they are written, checked and calibrated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from transformers import PreTrainedModel

from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import PAIR, pair_feeds
from onyxrank.architectures.registry import LATE_INTERACTION, SHARED_HISTORY
from onyxrank.architectures.shared_history import SharedHistory, history_feeds, history_state, item_feeds
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.request.truncation import Limits
from onyxrank.sessions.arrays import Feeds
from onyxrank_export.conversion.cross_graph import can_write, write_cross_graph
from onyxrank_export.conversion.fp32 import export_fp32
from onyxrank_export.conversion.fusion import fuse
from onyxrank_export.conversion.half import write_half
from onyxrank_export.conversion.late_conversion import LateConversion
from onyxrank_export.conversion.parity import check_parity, check_parity_of_two
from onyxrank_export.conversion.sessions import opened_session
from onyxrank_export.conversion.shared_graphs import products_per_graph, write_graphs

Files: TypeAlias = Mapping[str, Path]
"""Graph files by role."""

_GRAPHS = SharedHistory.graphs


class Conversion(Protocol):
    """Writes and checks the graphs of one model; there is one such class for each architecture."""

    @property
    def products(self) -> Mapping[str, int]:
        """How many large products with constant weights each graph has, by role; all of them must become int8."""

    def write(self, folder: Path) -> dict[str, Files]:
        """Write the fp32 graphs to a folder.

        Returns:
            The graph files of each variant by its name; the first is the one that is loaded and quantized.

        """

    def halve(self, source: Files, target: Files) -> None:
        """Write fp16 graphs, for GPUs, to the files of `target`; `source` has the fp32 graphs, by the same roles."""

    def parity(self, folder: Path, requests: Sequence[EncodedRequest], pad_id: int) -> dict[str, float]:
        """Compare every graph in the folder with PyTorch on real requests.

        Returns:
            The largest absolute difference of a logit, by the name of the variant or file.

        Raises:
            ExportError: if it is above `TOLERANCE`.

        """

    def calibration(
        self, files: Files, requests: Sequence[EncodedRequest], pad_id: int
    ) -> dict[str, Iterable[Feeds]]:
        """Make the inputs that each graph of a variant is calibrated on, by role; they can be iterated over again."""


class CrossConversion:
    """The conversion of cross: one graph over pairs, plain and optimized.

    Args:
        model: the classifier.

    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        layers, hidden = model.config.num_hidden_layers, model.config.hidden_size
        self._written = can_write(model)
        # ELECTRA's embeddings may be narrower than its layers: one more product then widens them.
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
        """Convert the graph that is made for GPUs, where there is one, to fp16; see `Conversion.halve`."""
        if self._written:
            write_cross_graph(self._model, target["model"], for_gpus=True)
            source = target
        write_half(source["model"], target["model"])

    def parity(self, folder: Path, requests: Sequence[EncodedRequest], pad_id: int) -> dict[str, float]:
        """Check the plain and the optimized graph; see `Conversion.parity`."""
        differences = {}
        for name, files in self._files(folder).items():
            with opened_session(files["model"], PAIR) as session:
                differences[name] = check_parity(self._model, session, requests, pad_id)
        return differences

    def calibration(
        self, files: Files, requests: Sequence[EncodedRequest], pad_id: int
    ) -> dict[str, Iterable[Feeds]]:
        """Give pairs one at a time, so that nothing is padded: padding would widen the ranges."""
        call = Call(requests)
        alone = np.arange(len(call.margins))[:, None]
        return {"model": [pair_feeds(call, row, pad_id) for row in alone]}

    @staticmethod
    def _files(folder: Path) -> dict[str, Files]:
        return {"fp32_fused": {"model": folder / "model_fused.onnx"}, "fp32": {"model": folder / "model.onnx"}}


class SharedHistoryConversion:
    """The conversion of shared-history: a graph of the history and one of the items, beside the plain one over pairs.

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
        """Convert both graphs to fp16; see `Conversion.halve`."""
        for role in source:
            write_half(source[role], target[role])

    def parity(self, folder: Path, requests: Sequence[EncodedRequest], pad_id: int) -> dict[str, float]:
        """Check the plain graph, and the two others together; see `Conversion.parity`."""
        files = self._files(folder)
        with opened_session(folder / "model.onnx", PAIR) as pairs:
            plain = check_parity(self._model, pairs, requests, pad_id)
        with (
            opened_session(files["history"], _GRAPHS["history"]) as history,
            opened_session(files["items"], _GRAPHS["items"]) as items,
        ):
            return {
                "fp32": check_parity_of_two(self._model, history, items, requests, pad_id),
                "model.onnx": plain,
            }

    def calibration(
        self, files: Files, requests: Sequence[EncodedRequest], pad_id: int
    ) -> dict[str, Iterable[Feeds]]:
        """Give histories and items one at a time, so that nothing is padded."""
        histories = [history_feeds(request.history) for request in requests]
        return {"history": histories, "items": _ItemFeeds(files["history"], requests, pad_id)}

    @staticmethod
    def _files(folder: Path) -> Files:
        return {role: folder / f"{role}.onnx" for role in _GRAPHS}


def conversion_of(architecture: str, model: PreTrainedModel, limits: Limits) -> Conversion:
    """Make the conversion of a model; `architecture` is a name in `ARCHITECTURES`."""
    if architecture == LATE_INTERACTION:
        return LateConversion(model)
    return SharedHistoryConversion(model, limits) if architecture == SHARED_HISTORY else CrossConversion(model)


class _ItemFeeds:
    """The inputs of the items graph. Each history's state is computed when it is due, since all would fill memory."""

    def __init__(self, history: Path, requests: Sequence[EncodedRequest], pad_id: int) -> None:
        self._history, self._requests, self._pad_id = history, requests, pad_id

    def __iter__(self) -> Iterator[Feeds]:
        with opened_session(self._history, _GRAPHS["history"]) as session:
            for request in self._requests:
                state = history_state(session, request.history)
                for index in range(len(request.items)):
                    yield item_feeds(request.items, np.array([index]), self._pad_id, state)
