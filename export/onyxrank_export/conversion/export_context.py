"""What the steps of one export share: the model, its graphs, and whom to tell how it goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from onyxrank.architectures.base import Architecture
from onyxrank_export.conversion.architectures import Conversion, Files
from onyxrank_export.conversion.export_config import ExportConfig
from onyxrank_export.conversion.gate import GateSample, Progress
from onyxrank_export.conversion.sessions import opened_architecture

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
    say: Say
    progress: Progress

    def opened(
        self, files: Files, *, provider: str = "cpu", exact_sums: bool = False
    ) -> AbstractContextManager[Architecture]:
        """The engine's own architecture over graph files, closed at the end of the block."""
        return opened_architecture(
            self.architecture, self.head, files, self.pad_id, provider=provider, exact_sums=exact_sums
        )

    def in_bundle(self, files: Files) -> dict[str, str]:
        """Paths of graph files as the manifest names them: relative to the bundle, by role."""
        return {role: path.relative_to(self.folder).as_posix() for role, path in files.items()}
