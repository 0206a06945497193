"""The peak of a machine's matrix products, and the share of it that a way of ranking reaches."""

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
    """The measured peak of a machine's matrix products.

    Attributes:
        gops: the peak in 10⁹ operations a second, by precision: ``fp32`` and ``int8``.
        operations: function that returns how many 10⁹ operations a bundle needs for an encoded request, or None if
            that is not known.

    """

    gops: Mapping[str, float]
    operations: Callable[[Bundle, EncodedRequest], float | None]

    def share(self, report: WayReport, bundles: Sequence[Bundle], request: Request) -> float | None:
        """Compute the share of the peak that the engine reaches over the whole time of a request.

        Args:
            report: figures of the way.
            bundles: the bundles that were measured, among which the way's own is looked for.
            request: the request that was ranked.

        Returns:
            The share, or None for ways that are not the engine on the CPU.

        """
        for bundle in bundles:
            wanted = (bundle.manifest.architecture, bundle.folder.resolve().name)
            found = (report.settings.get("architecture"), report.settings.get("bundle"))
            if found == wanted and report.settings["provider"] == "cpu":
                needed = self.operations(bundle, load_encoder(bundle).encode(request.history, request.items))
                # The CPU computes graphs in half precision as fp32.
                precision = "int8" if str(report.settings["precision"]).startswith("int8") else "fp32"
                return None if needed is None else needed / (report.latency.p50_ms / 1000) / self.gops[precision]
        return None


PeakFactory = Callable[[int], Peak]
"""A function that measures the peak with a number of threads."""
