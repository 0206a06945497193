"""Loads the ways of a benchmark, and notes what each adds to memory and how far its scores are from fp32's.

1. The ways are loaded, prepared and tried one after the other, so that what memory grows by belongs to one way.
2. A model that several ways share is counted for the first of them only, since the others add nothing to it.
3. Scores are compared with the first fp32 way of the same bundle once all ways have scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.measure.memory import current_bytes, peak_bytes, reset_peak
from onyxrank.measure.requests import Request
from onyxrank.measure.ways import Say, Way


@dataclass(frozen=True, slots=True)
class LoadedWay:
    """A way that is ready to be measured, and what was noted while it was loaded.

    Attributes:
        way: the way.
        added_memory_bytes: bytes that the way added to this process at the peak; None where the system does not tell.
        score_difference: largest difference of a probability from the first fp32 way of the same bundle; None if
            there is no such way.

    """

    way: Way
    added_memory_bytes: int | None
    score_difference: float | None


def load_ways(ways: Iterable[Way], request: Request, closing: ExitStack, say: Say) -> list[LoadedWay]:
    """Load ways, prepare them and let each score a request, one after the other.

    Args:
        ways: the ways, at least one; the iterator loads each when it is asked for the next.
        request: the request that each is prepared for and scores.
        closing: stack on which the closing of each way is put.
        say: function that is called with a sentence about each way.

    """
    loaded: list[tuple[Way, int | None, NDArray[np.float32]]] = []
    coming = iter(ways)
    while True:
        before = current_bytes()
        way = next(coming, None)
        if way is None:
            break
        closing.callback(way.close)
        say(f"preparing {way.name}")
        way.prepare(request)
        # The peak counts from here, since preparing may try settings that need more memory than the chosen one.
        was_reset = reset_peak()
        scores = way.score(request)
        peak = peak_bytes()
        added = max(0, peak - before) if was_reset and peak is not None and before is not None else None
        loaded.append((way, added, scores))

    def bundle_of(way: Way) -> tuple[object, ...]:
        """Name the architecture and the bundle of a way; the eager ways name none, and run the first way's."""
        return tuple(way.settings.get(name, loaded[0][0].settings.get(name)) for name in ("architecture", "bundle"))

    expected: dict[object, NDArray[np.float32]] = {}
    for way, _, scores in loaded:
        if way.settings.get("precision") == "fp32":
            expected.setdefault(bundle_of(way), scores)

    def difference(way: Way, scores: NDArray[np.float32]) -> float | None:
        exact = expected.get(bundle_of(way))
        return None if exact is None else float(np.abs(scores - exact).max())

    return [LoadedWay(way, added, difference(way, scores)) for way, added, scores in loaded]
