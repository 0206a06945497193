"""Searches the settings for the fastest by racing them, within the time that there is.

1. The first race takes each variant on each provider with its default setting, and drops those that are far behind.
2. The second race takes all layouts and micro-batches of those that are left.
3. If the comparison with fp32 later refuses what won, those that had lost to it race once more (`Search.again`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from onyxrank.loading.setting import Setting
from onyxrank.measure.latency import TELLS_P99
from onyxrank.tune.contestants import Contestants
from onyxrank.tune.options import OnProgress, TuneOptions
from onyxrank.tune.race import ENOUGH, MARGIN, Result, Standing, race

FIRST_RACE_SHARE, SECOND_RACE_SHARE = 0.3, 0.75
"""Shares of the budget that are used up when the first race ends, and when the second one ends."""
_FIRST_RACE_ROUNDS, _ROUNDS = 3, 15
"""Most rounds of the first race, and of the other races where no percentile is asked for."""
_FIRST_RACE_MARGIN = 1.3
"""How many times as slow as the fastest a variant's default setting may be; another setting may suit it better."""


class Search:
    """The races between a bundle's settings.

    Args:
        contestants: what runs the sample under each setting.
        options: what to search for.
        begun: time at which tuning began, by `time.perf_counter`; the budget counts from then.
        on_progress: called after each run of a setting.

    """

    def __init__(self, contestants: Contestants, options: TuneOptions, begun: float, on_progress: OnProgress) -> None:
        self._contestants, self._options = contestants, options
        self._begun, self._on_progress = begun, on_progress

    def run(self, groups: list[list[Setting]]) -> Result:
        """Run the first and the second race.

        Args:
            groups: the settings of each variant on each provider, the default setting first.

        Raises:
            KeyboardInterrupt: if interrupted before anything was measured.

        """
        exhaustive = self._options.exhaustive
        first = Result()
        if len(groups) > 1 and not exhaustive:
            # Each variant has its turn as long as the races have any time left, since the fastest may be the last.
            first = self._race(
                [group[0] for group in groups], _FIRST_RACE_ROUNDS, FIRST_RACE_SHARE, _FIRST_RACE_MARGIN
            )
            ahead = {standing.setting for standing in first.standings if not standing.fate}
            groups = [group for group in groups if group[0] in ahead]
            if first.interrupted or not groups:
                return first
        settings = [setting for group in groups for setting in group]
        if first.standings and time.perf_counter() >= self._begun + self._options.budget_s * SECOND_RACE_SHARE:
            return Result(unmeasured=settings).after(first)
        try:
            self._contestants.keep(settings)
            margin = float("inf") if exhaustive else MARGIN
            second = self._race(settings, self._rounds, SECOND_RACE_SHARE, margin, _FIRST_RACE_ROUNDS)
        except KeyboardInterrupt:
            if not first.standings:
                raise
            second = Result(interrupted=True)
        return second.after(first)

    def again(self, settings: Sequence[Setting]) -> Result:
        """Race settings that were dropped before, until the budget is used up.

        With a limit on the 99th percentile none is dropped, so that each runs often enough to have one.
        """
        self._contestants.keep(settings)
        margin = MARGIN if self._options.p99_ms is None else float("inf")
        return self._race(settings, self._rounds, 1.0, margin, _FIRST_RACE_ROUNDS + _ROUNDS)

    @property
    def _rounds(self) -> int:
        """Most rounds of a race; with a limit on the 99th percentile, as many as it takes to tell that percentile."""
        if self._options.p99_ms is None:
            return _ROUNDS
        return math.ceil(TELLS_P99 / len(self._contestants.requests))

    def _race(
        self, settings: Sequence[Setting], rounds: int, share: float, margin: float, first_turn: int = 0
    ) -> Result:
        budget = self._options.budget_s

        def report(standing: Standing) -> None:
            used = (time.perf_counter() - self._begun) / budget
            self._on_progress(min(1.0, used), f"{standing.rounds[-1].wall_s * 1000:.0f} ms {standing.setting}")

        return race(
            self._contestants.runs(settings, first_turn),
            rounds=rounds,
            deadline=self._begun + budget * share,
            first_deadline=self._begun + budget * max(share, SECOND_RACE_SHARE),
            margin=margin,
            enough=rounds if self._options.p99_ms is not None else ENOUGH,
            on_run=report,
            on_drop=self._contestants.release,
        )
