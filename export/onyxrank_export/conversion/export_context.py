"""What the steps of one export share: the model, its graphs, and whom to tell how it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.readout import Readout
from onyxrank_export.conversion.architectures import Conversion, Files
from onyxrank_export.conversion.export_config import ExportConfig
from onyxrank_export.conversion.gate import GateSample, Margins, Progress
from onyxrank_export.conversion.readout_fit import fit_readout
from onyxrank_export.conversion.sessions import opened_architecture

READOUT_LISTS = 512
"""Readouts are fitted on as many held-out lists, or on more where the gate looked at more."""
Say: TypeAlias = Callable[[str], None]
"""Is told each step as it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportContext:
    """One export.

    Attributes:
        folder: the bundle that is being written.
        config: what was asked for.
        architecture: name of the model's architecture.
        head: how logits become a probability, ``softmax`` or ``sigmoid``.
        pad_id: token id to pad with.
        conversion: writes and checks the architecture's graphs.
        sample: the held-out lists with their token ids.
        own_data: whether the lists are of data that the model is for.
        say: told each step as it begins.
        progress: told how many of how many held-out lists a graph has scored.

    """

    folder: Path
    config: ExportConfig
    architecture: str
    head: str
    pad_id: int
    conversion: Conversion
    sample: GateSample
    own_data: bool
    say: Say
    progress: Progress

    def opened(
        self, files: Files, *, provider: str = "cpu", exact_sums: bool = False
    ) -> AbstractContextManager[Architecture]:
        """The engine's own architecture over graph files, closed at the end of the block."""
        return opened_architecture(
            self.architecture,
            self.head,
            files,
            self.folder,
            self.pad_id,
            provider=provider,
            exact_sums=exact_sums,
        )

    def readout(self, margins: Margins) -> tuple[Readout, Mapping[str, Any] | None]:
        """Fit the readout of a variant on the margins of the first held-out lists, and report on it.

        Without lists of the model's own data there is nothing to fit on: then it is the logistic function, of which
        there is no report.
        """
        if not self.own_data:
            return Readout(), None
        labels = [row.labels for row in self.sample.lists[: len(margins)]]
        return fit_readout(margins, labels, self.config.base_rate)

    def in_bundle(self, files: Files) -> dict[str, str]:
        """Paths of graph files as the manifest names them: relative to the bundle, by role."""
        return {role: path.relative_to(self.folder).as_posix() for role, path in files.items()}
