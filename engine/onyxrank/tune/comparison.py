"""Compares the finalists with fp32 on the CPU, over as many lists as there is time for.

1. Before the first finalist is judged, fp32 scores the lists until its deadline, but at least 8 of them.
2. Each finalist is then judged over the lists that fp32 has scored, or over 8 of them once the budget is used up.
3. Settings with the same graphs and provider give the same scores, so what is found of one holds for all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onyxrank.bundle.opening import Bundle
from onyxrank.errors import OnyxrankError
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import usable_cpus
from onyxrank.measure.requests import Request
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.token_ids import EncodedRequest
from onyxrank.tune.agreement import Agreement, compare
from onyxrank.tune.contestants import Contestants
from onyxrank.tune.sample import sample_of, spread

_LISTS, _ITEMS = 16, 40
"""Lists to compare from each sample, and items of each list; the lists of the quality gate have 40 items too."""
LEAST_LISTS = 8
"""Lists that are compared even when there is no time left."""
_SCORED_AT_ONCE = 1024
"""Tokens of a micro-batch for the reference, whose speed does not matter: a usual size."""


class Comparison:
    """Judges settings one by one, and keeps what it found.

    Args:
        contestants: what opens the settings.
        reference: the setting to compare with, fp32 on the CPU.
        requests: lists to compare on. The first 8 are compared in any case, so they should be of all sizes.
        deadline: time, by `time.perf_counter`, after which the reference scores no more lists.
        end: time, by `time.perf_counter`, after which a setting is judged over 8 lists only.

    Attributes:
        agreements: what was found of each setting that was judged.
        failed: those of them that did not run.

    """

    def __init__(
        self,
        contestants: Contestants,
        reference: Setting,
        requests: Sequence[EncodedRequest],
        deadline: float,
        end: float = math.inf,
    ) -> None:
        self._contestants, self._reference = contestants, reference
        self._requests, self._deadline, self._end = requests, deadline, end
        self._expected: list[NDArray[np.float32]] = []
        self.agreements: dict[Setting, Agreement] = {}
        self.failed: set[Setting] = set()

    @property
    def lists(self) -> int:
        """Number of lists that the reference has scored so far."""
        return len(self._expected)

    def judge(self, setting: Setting) -> Agreement:
        """Compare a setting's scores with the reference's.

        The first call computes the reference's scores. If it is interrupted, the next call keeps those that it has
        computed and goes on from there.
        """
        if not self.agreements:
            reference = self._contestants.scheduler(self._reference).architecture
            for request in self._requests[self.lists :]:
                if self.lists >= LEAST_LISTS and time.perf_counter() > self._deadline:
                    break
                self._expected += reference.margins([request])
        count = self.lists if self.in_time else min(self.lists, LEAST_LISTS)
        try:
            architecture = self._contestants.scheduler(setting).architecture
            self.agreements[setting] = compare(architecture, self._requests[:count], self._expected[:count])
        except OnyxrankError as error:  # the setting ran in the race, but others may still be chosen
            self.agreements[setting] = Agreement.none(f"does not run: {error}")
            self.failed.add(setting)
        return self.agreements[setting]

    def refuses(self, setting: Setting) -> bool:
        """Say whether a setting is already known to disagree with fp32.

        It is known if any setting with the same graphs and provider was found to disagree, since their scores do not
        depend on the layout. That another setting did not run, in contrast, says nothing about this one.
        """
        return any(
            (judged.variant, judged.provider) == (setting.variant, setting.provider)
            for judged, found in self.agreements.items()
            if found.faults and (judged not in self.failed or judged == setting)
        )

    @property
    def in_time(self) -> bool:
        """Whether there is time left in the budget."""
        return time.perf_counter() < self._end


def lists_to_compare(bundle: Bundle, encoder: TextEncoder, requests: Path | None) -> list[EncodedRequest]:
    """Choose the lists to compare settings on, with all sizes among the first few.

    The caller's lists and the bundle's own alternate, since a caller may have given only a few.

    Args:
        bundle: the bundle to tune.
        encoder: the bundle's encoder.
        requests: the caller's file of requests, or None if there is none.

    """
    paths = (None,) if requests is None else (requests, None)
    alternating = zip_longest(*(_mix_sizes(spread(sample_of(bundle, path)[0], _LISTS)) for path in paths))
    chosen = [request for turn in alternating for request in turn if request is not None]
    return [encoder.encode(request.history, request.items[:_ITEMS]) for request in chosen]


def _mix_sizes(ascending: Sequence[Request]) -> list[Request]:
    """Reorder requests of ascending size by taking every fourth of them, so that all sizes are among the first."""
    return [request for start in (3, 1, 2, 0) for request in ascending[start::4]]


def reference_of(bundle: Bundle) -> Setting:
    """Return the setting that the others are compared with: the bundle's fp32 graphs on the CPU.

    Raises:
        OnyxrankError: if the bundle has no fp32 graphs.

    """
    names = [each.name for each in bundle.manifest.variants if each.precision == "fp32"]
    if not names:
        raise OnyxrankError("this bundle has no fp32 graphs to compare with; tune the bundle that it was made of")
    return Setting(
        variant=names[0],
        provider="cpu",
        threads=usable_cpus(),
        sessions=1,
        micro_batch_tokens=_SCORED_AT_ONCE,
    )
