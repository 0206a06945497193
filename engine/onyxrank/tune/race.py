"""Measures settings against each other, and spends no more time on those that have lost.

1. A round runs every setting that is left once. The order changes from round to round, so that what disturbs the
   machine disturbs all settings alike.
2. A setting is opened at its first turn. One that does not run is out of the race, with the reason.
3. After each round a setting is dropped if its fastest round is slower than the leader's median by a margin. Noise
   only adds time, so the fastest round shows what a setting can do. After the first round the margin is wider, since
   one round of the leader is not yet a median.
4. The race ends after a number of rounds, when only one setting is left and has been measured often enough, when time
   is up, or when the caller interrupts it. What was measured by then counts in every case.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from onyxrank.errors import OnyxrankError
from onyxrank.loading.setting import Setting

Run = Callable[[], "Round"]
"""A function that runs the sample once under one setting. It raises `OnyxrankError` if the setting does not run."""

MARGIN, _FIRST_MARGIN = 1.1, 1.5
"""How many times as slow as the leader a setting may be at its best, after later rounds and after the first one."""
ENOUGH = 3
"""Rounds after which a setting that is left alone need not run any more."""
_LEVEL = 1.02
"""Settings whose medians are within this ratio of the fastest count as equally fast.

Two races of one and the same setting differ by more than that.
"""
REST_S = 0.02
"""Seconds of rest before each run, since allocations and threads of the run before end a little after it."""


@dataclass(frozen=True, slots=True)
class Round:
    """How long one run of the sample took.

    Attributes:
        wall_s: seconds from the first request's start to the last one's end.
        requests_s: seconds that each request took.

    """

    wall_s: float
    requests_s: tuple[float, ...]


@dataclass(slots=True)
class Standing:
    """Where a setting stands in a race.

    Attributes:
        setting: the setting.
        rounds: its measured rounds, in their order.
        fate: sentence that says why the setting is out of the race; empty while it is still in it.

    """

    setting: Setting
    rounds: list[Round] = field(default_factory=list)
    fate: str = ""

    @property
    def median_s(self) -> float:
        """Median seconds of a round."""
        return statistics.median(each.wall_s for each in self.rounds)

    @property
    def best_s(self) -> float:
        """Seconds of the fastest round."""
        return min(each.wall_s for each in self.rounds)

    def percentile_s(self, share: float) -> float:
        """Return the seconds within which a share of the requests (0.99, say) was answered, by the nearest rank."""
        ordered = sorted(seconds for each in self.rounds for seconds in each.requests_s)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Result:
    """How a race ended.

    Attributes:
        standings: standings of all settings that were measured. Those still in the race come before those that are
            out of it, and within each group the fastest comes first.
        failed: settings that do not run, with the reasons.
        unmeasured: settings whose turn never came.
        interrupted: whether the caller interrupted the race.

    """

    standings: list[Standing] = field(default_factory=list)
    failed: dict[Setting, str] = field(default_factory=dict)
    unmeasured: list[Setting] = field(default_factory=list)
    interrupted: bool = False

    @classmethod
    def of(cls, standings: Iterable[Standing], interrupted: bool) -> Result:
        """Make the result of a race out of the standings of all settings that took part, in any order."""
        every = list(standings)
        measured = [standing for standing in every if standing.rounds]
        measured.sort(key=lambda standing: (bool(standing.fate), standing.median_s))
        others = [standing for standing in every if not standing.rounds]
        return cls(
            measured,
            {standing.setting: standing.fate for standing in others if standing.fate},
            [standing.setting for standing in others if not standing.fate],
            interrupted,
        )

    def after(self, before: Result) -> Result:
        """Combine this race's result with that of a race before it.

        Where both have measured a setting, this race's standing counts.
        """
        again = {standing.setting for standing in self.standings}
        both = Result.of(
            [*self.standings, *(standing for standing in before.standings if standing.setting not in again)],
            self.interrupted or before.interrupted,
        )
        measured = {standing.setting for standing in both.standings}
        unmeasured = [
            setting for setting in dict.fromkeys([*before.unmeasured, *self.unmeasured]) if setting not in measured
        ]
        return Result(both.standings, before.failed | self.failed, unmeasured, both.interrupted)


def race(
    runs: Mapping[Setting, Run],
    *,
    rounds: int,
    deadline: float,
    first_deadline: float | None = None,
    margin: float = MARGIN,
    enough: int = ENOUGH,
    on_run: Callable[[Standing], None] = lambda _: None,
    on_drop: Callable[[Setting], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
    rest: Callable[[float], None] = time.sleep,
) -> Result:
    """Race settings.

    Args:
        runs: function that runs the sample once, for each setting; at least one.
        rounds: most rounds to run.
        deadline: time of the clock after which no further run is begun, except that one setting is always measured.
        first_deadline: the deadline of the first round if it is another one, or None.
        margin: how many times as slow as the leader a setting may be at its best without being dropped.
        enough: rounds after which the race ends if only one setting is left.
        on_run: called after each run with the setting's standing.
        on_drop: called with each setting that is out of the race.
        clock: function that returns the time in seconds.
        rest: function that waits a number of seconds; called before each run.

    Raises:
        KeyboardInterrupt: if interrupted before anything was measured.

    """
    standings = {setting: Standing(setting) for setting in runs}
    interrupted = False
    try:
        for number in range(rounds):
            left = [standing for standing in standings.values() if not standing.fate]
            if not left or (number >= enough and len(left) == 1):
                break
            until = deadline if number or first_deadline is None else first_deadline
            for standing in random.Random(number).sample(left, len(left)):
                if clock() >= until and any(each.rounds for each in standings.values()):
                    raise _TimeIsUp
                rest(REST_S)
                try:
                    standing.rounds.append(runs[standing.setting]())
                except OnyxrankError as error:
                    standing.fate = str(error)
                    continue
                on_run(standing)
            running = [standing for standing in left if not standing.fate]
            _drop(running, margin if number else max(margin, _FIRST_MARGIN))
            for standing in left:
                if standing.fate:
                    on_drop(standing.setting)
    except _TimeIsUp:
        pass
    except KeyboardInterrupt:
        if not any(standing.rounds for standing in standings.values()):
            raise
        interrupted = True
    return Result.of(standings.values(), interrupted)


def small_runs_first(result: Result) -> Result:
    """Prefer small micro-batches among settings that are equally fast.

    Of the settings that differ from the fastest only in the size of the micro-batch and are as fast within `_LEVEL`,
    the one with the smallest micro-batch moves to the front.
    """
    if not result.standings:
        return result
    fastest = result.standings[0]
    level = [
        each
        for each in result.standings
        if replace(each.setting, micro_batch_tokens=fastest.setting.micro_batch_tokens) == fastest.setting
        and not each.fate
        and each.median_s <= _LEVEL * fastest.median_s
    ]
    first = min(level, key=lambda each: each.setting.micro_batch_tokens, default=fastest)
    return replace(result, standings=[first, *(each for each in result.standings if each is not first)])


class _TimeIsUp(Exception):
    """Ends a race in the middle of a round."""


def _drop(left: list[Standing], margin: float) -> None:
    """Give a fate to each standing that has lost."""
    if not left:
        return
    leader = min(left, key=lambda standing: standing.median_s)
    for standing in left:
        slower = standing.best_s / leader.median_s
        if standing is not leader and slower > margin:
            standing.fate = f"{slower:.2f} times as slow as the fastest after {len(standing.rounds)} rounds"
