"""The finalists against fp32 on the CPU, over as many lists as there is time for."""

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
"""Of each sample, and at most of a list: as long as those that the gate judged by."""
LEAST_LISTS = 8


class Comparison:
    """Judges settings, one by one.

    Args:
        contestants: opens them.
        reference: the setting that the others are compared with.
        requests: lists to compare on; the first 8 count in any case, so they should be of all sizes.
        deadline: when to stop scoring them with the reference, as `time.perf_counter` has it.
        end: when there is no time for more than 8 lists of a setting.

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
        """How many lists are compared."""
        return len(self._expected)

    def judge(self, setting: Setting) -> Agreement:
        """Compare a setting's scores with the reference's, which are computed for the first.

        What an interruption leaves of those stands, and the next call goes on from there.
        """
        if not self.agreements:
            reference = self._contestants.scheduler(self._reference).architecture
            for request in self._requests[self.lists :]:
                if self.lists >= LEAST_LISTS and time.perf_counter() > self._deadline:
                    break
                self._expected += reference.score([request])
        count = self.lists if self.in_time else min(self.lists, LEAST_LISTS)
        try:
            architecture = self._contestants.scheduler(setting).architecture
            self.agreements[setting] = compare(architecture, self._requests[:count], self._expected[:count])
        except OnyxrankError as error:  # it ran in the race; the others may still be chosen
            self.agreements[setting] = Agreement.none(f"does not run: {error}")
            self.failed.add(setting)
        return self.agreements[setting]

    def refuses(self, setting: Setting) -> bool:
        """Whether its graphs were found to disagree: in every layout they give the same scores."""
        return any(
            (judged.variant, judged.provider) == (setting.variant, setting.provider)
            for judged, found in self.agreements.items()
            if found.faults and (judged not in self.failed or judged == setting)
        )

    @property
    def in_time(self) -> bool:
        """Whether there is time left."""
        return time.perf_counter() < self._end


def lists_to_compare(bundle: Bundle, encoder: TextEncoder, requests: Path | None) -> list[EncodedRequest]:
    """The caller's lists and the bundle's by turns, since a caller may give few; of all sizes from the first on."""
    paths = (None,) if requests is None else (requests, None)
    by_turns = zip_longest(*(_mixed(spread(sample_of(bundle, path)[0], _LISTS)) for path in paths))
    rows = [row for turn in by_turns for row in turn if row is not None]
    return [encoder.encode(row.history, row.items[:_ITEMS]) for row in rows]


def _mixed(ascending: Sequence[Request]) -> list[Request]:
    """Requests in an order of which each beginning has all sizes: every fourth, and so on."""
    return [request for start in (3, 1, 2, 0) for request in ascending[start::4]]


def reference_of(bundle: Bundle) -> Setting:
    """fp32 on the CPU.

    Raises:
        OnyxrankError: if the bundle has no fp32 graphs.

    """
    names = [each.name for each in bundle.manifest.variants if each.precision == "fp32"]
    if not names:
        raise OnyxrankError("this bundle has no fp32 graphs to compare with; tune the bundle that it was made of")
    return Setting(variant=names[0], provider="cpu", threads=usable_cpus(), sessions=1, micro_batch_tokens=1024)
