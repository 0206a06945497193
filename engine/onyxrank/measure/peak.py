"""What a machine's matrix products can do, and which share of it a way reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onyxrank.bundle.opening import Bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.measure.report import WayReport
from onyxrank.measure.requests import Request
from onyxrank.request.token_ids import EncodedRequest


@dataclass(frozen=True, slots=True)
class Peak:
    """What a machine's matrix products can do.

    Attributes:
        gops: 10⁹ operations a second, by ``fp32`` and ``int8``.
        operations: 10⁹ operations that a bundle needs for an encoded request; None if it does not tell.

    """

    gops: Mapping[str, float]
    operations: Callable[[Bundle, EncodedRequest], float | None]

    def share(self, report: WayReport, bundles: Sequence[Bundle], request: Request) -> float | None:
        """Which share of the CPUs' peak an engine's way on them reaches over its whole time; None for other ways."""
        for bundle in bundles:
            own = (bundle.manifest.architecture, bundle.folder.resolve().name)
            found = (report.settings.get("architecture"), report.settings.get("bundle"))
            if found == own and report.settings["provider"] == "cpu":
                needed = self.operations(bundle, load_encoder(bundle).encode(request.history, request.items))
                # The CPU computes half-precision graphs in fp32.
                kind = "int8" if str(report.settings["precision"]).startswith("int8") else "fp32"
                return None if needed is None else needed / (report.latency.p50_ms / 1000) / self.gops[kind]
        return None


PeakFactory = Callable[[int], Peak]
"""Measures the peak with a number of threads."""
