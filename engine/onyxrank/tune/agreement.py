"""Whether a setting answers on this machine what fp32 answers: the last check before it is chosen.

The quality gate has judged the graph where it was exported. Another CPU runs other kernels, and a provider may
compute in another precision, so the scores of the bundle's sample are compared once more, here: unlike the gate's own
lists it has no labels and travels in the bundle. It is small beside them: a setting is refused when its overlap is
below the limit by more than chance explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture
from onyxrank.errors import NonFiniteScore
from onyxrank.measure.invariance import BATCH_INVARIANT, batch_deviation
from onyxrank.measure.overlap import top_overlap
from onyxrank.request.token_ids import EncodedRequest

LEAST_OVERLAP = 0.9
"""As of the quality gate."""
MOST_DIFFERENCE = 0.05
"""Of a probability, on average: int8 stays at a fifth of that, unless a kernel overflows."""
_CHANCE = 2.0
"""Standard errors that are taken for chance."""
_ALONE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a setting's scores compare with fp32 on the CPU.

    Attributes:
        overlap: mean share of fp32's best items that are among the setting's; the best 10, or half of a shorter list.
        overlap_error: its standard error over the requests.
        mean_difference: of a probability.
        largest_difference: likewise.
        batch_deviation: largest change of a probability when an item is scored alone.
        faults: what is out of the limits; empty if it may be chosen.
        lists: how many were compared.

    """

    overlap: float
    overlap_error: float
    mean_difference: float
    largest_difference: float
    batch_deviation: float
    faults: tuple[str, ...]
    lists: int = 0

    @classmethod
    def none(cls, fault: str) -> Agreement:
        """There are no scores to compare."""
        return cls(
            overlap=0.0,
            overlap_error=0.0,
            mean_difference=1.0,
            largest_difference=1.0,
            batch_deviation=1.0,
            faults=(fault,),
        )

    def to_json(self) -> dict[str, object]:
        """JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else round(value, 6) for name, value in asdict(self).items()
        }


def compare(
    architecture: Architecture, requests: Sequence[EncodedRequest], expected: Sequence[NDArray[np.float32]]
) -> Agreement:
    """Score the sample and compare.

    Args:
        architecture: the setting.
        requests: the sample.
        expected: fp32's scores of it.

    """
    try:
        scores = [architecture.score([request])[0] for request in requests]
    except NonFiniteScore:
        return Agreement.none("answers NaN or infinity")
    overlaps = [top_overlap(ours, theirs) for ours, theirs in zip(scores, expected, strict=True)]
    overlap, error = float(np.mean(overlaps)), float(np.std(overlaps) / np.sqrt(len(overlaps)))
    differences = np.abs(np.concatenate(scores) - np.concatenate(expected))
    difference = float(differences.mean())
    longest = max(requests, key=lambda request: len(request.items))
    deviation = batch_deviation(architecture, [longest], most_items=_ALONE)
    found = []
    if overlap + _CHANCE * error < LEAST_OVERLAP:
        found.append(f"keeps {overlap:.1%} of fp32's best items (limit {LEAST_OVERLAP:.0%})")
    if difference > MOST_DIFFERENCE:
        found.append(f"a probability differs by {difference:.3f} on average (limit {MOST_DIFFERENCE})")
    if deviation > BATCH_INVARIANT:
        found.append(f"a score changes by {deviation:.1e} with the other items (limit {BATCH_INVARIANT:.0e})")
    return Agreement(
        overlap=overlap,
        overlap_error=error,
        mean_difference=difference,
        largest_difference=float(differences.max()),
        batch_deviation=deviation,
        faults=tuple(found),
        lists=len(requests),
    )
