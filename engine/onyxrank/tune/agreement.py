"""Compares a setting's scores with fp32's on this machine, as the last check before the setting is chosen.

The quality gate judged the graph on the machine that exported it. Another CPU runs other kernels, and a provider may
compute in another precision, so scores are compared again on this machine. The gate's own lists are not here, so the
comparison uses the bundle's sample, which has no labels. The sample is also much smaller, so a setting is refused
only if its overlap with fp32 is below the limit by more than chance explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.readout import Readout
from onyxrank.errors import NonFiniteScore
from onyxrank.measure.invariance import BATCH_INVARIANT, batch_deviation
from onyxrank.measure.overlap import top_overlap
from onyxrank.request.token_ids import EncodedRequest

LEAST_OVERLAP = 0.9
"""Least share of fp32's best items that a setting must have among its own; the quality gate has the same limit."""
MOST_DIFFERENCE = 0.05
"""Most that a probability may differ from fp32's on average; int8 is at a fifth of it unless a kernel overflows."""
_CHANCE = 2.0
"""Number of standard errors by which an overlap may fall below the limit by chance."""
_ALONE = 8
"""Items that are also scored alone, to see whether an item's score depends on the others of its list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a setting's scores compare with those of fp32 on the CPU.

    Attributes:
        overlap: share of fp32's best items that are among the setting's best, as a mean over the lists. The best are
            the first 10, or the first half of a shorter list.
        overlap_error: standard error of the overlap over the lists.
        mean_difference: mean absolute difference of a probability from fp32's.
        largest_difference: largest absolute difference of a probability from fp32's.
        batch_deviation: largest change of a probability when an item is scored alone instead of in its list.
        faults: phrases that say which limits are broken; empty if the setting may be chosen.
        lists: number of lists that were compared.

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
        """Make the agreement of a setting that has no scores to compare, for the reason `fault`."""
        return cls(
            overlap=0.0,
            overlap_error=0.0,
            mean_difference=1.0,
            largest_difference=1.0,
            batch_deviation=1.0,
            faults=(fault,),
        )

    def to_json(self) -> dict[str, object]:
        """Return the attributes as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else round(value, 6) for name, value in asdict(self).items()
        }


def compare(
    architecture: Architecture, requests: Sequence[EncodedRequest], expected: Sequence[NDArray[np.float32]]
) -> Agreement:
    """Score lists under a setting and compare the scores with fp32's.

    Args:
        architecture: the model, opened with the setting.
        requests: the lists to score.
        expected: fp32's margins of each list.

    """
    try:
        margins = [architecture.margins([request])[0] for request in requests]
    except NonFiniteScore:
        return Agreement.none("answers NaN or infinity")
    overlaps = [top_overlap(one, other) for one, other in zip(margins, expected, strict=True)]
    overlap, error = float(np.mean(overlaps)), float(np.std(overlaps) / np.sqrt(len(overlaps)))
    # By the logistic function, whatever readout a variant has: what the graphs differ by is the question here.
    ours, theirs = (Readout().probabilities(np.concatenate(each)) for each in (margins, expected))
    differences = np.abs(ours - theirs)
    difference = float(differences.mean())
    longest = max(requests, key=lambda request: len(request.items))
    deviation = batch_deviation(architecture, [longest], most_items=_ALONE)
    faults = []
    if overlap + _CHANCE * error < LEAST_OVERLAP:
        faults.append(f"keeps {overlap:.1%} of fp32's best items (limit {LEAST_OVERLAP:.0%})")
    if difference > MOST_DIFFERENCE:
        faults.append(f"a probability differs by {difference:.3f} on average (limit {MOST_DIFFERENCE})")
    if deviation > BATCH_INVARIANT:
        faults.append(f"a score changes by {deviation:.1e} with the other items (limit {BATCH_INVARIANT:.0e})")
    return Agreement(
        overlap=overlap,
        overlap_error=error,
        mean_difference=difference,
        largest_difference=float(differences.max()),
        batch_deviation=deviation,
        faults=tuple(faults),
        lists=len(requests),
    )
