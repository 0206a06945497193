"""Measures settings against each other, and spends no time on those that have lost.

0. A setting is opened when its turn comes first; one that does not run is out, with the reason.
1. A round runs every setting that is left once, in an order that changes from round to round, so that what disturbs
   the machine disturbs all alike.
2. After each round a setting is dropped when its fastest round is slower than the leader's median by a margin: noise
   only adds time, so its best is what it could do. After one round alone the margin is wider.
3. The race ends after so many rounds, when one is left that has been measured often enough, or when time is up. What
   was measured by then stands, also when it was interrupted.
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
"""Runs the sample once under one setting; `OnyxrankError` says that the setting does not run here."""

MARGIN, _FIRST_MARGIN = 1.1, 1.5
ENOUGH = 3
_LEVEL = 1.02
"""Of the fastest median: less than two races of one setting differ by."""
REST_S = 0.02
"""Lets the machine come to rest after the run before, whose allocations and threads end a little later."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one run of the sample.

    Attributes:
        wall_s: for all requests together.
        requests_s: of each request.

    """

    wall_s: float
    requests_s: tuple[float, ...]


@dataclass(slots=True)
class Standing:
    """What was measured of a setting.

    Attributes:
        setting: the setting.
        rounds: in their order.
        fate: why it is out of the race; empty while it is in it.

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
        """Seconds within which that share of the requests was answered, by the nearest rank."""
        ordered = sorted(seconds for each in self.rounds for seconds in each.requests_s)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Result:
    """How a race ended.

    Attributes:
        standings: of every setting that was measured, fastest first, those still in the race before the others.
        failed: why settings do not run.
        unmeasured: settings whose turn never came.
        interrupted: whether the caller's interruption ended it.

    """

    standings: list[Standing] = field(default_factory=list)
    failed: dict[Setting, str] = field(default_factory=dict)
    unmeasured: list[Setting] = field(default_factory=list)
    interrupted: bool = False

    @classmethod
    def of(cls, standings: Iterable[Standing], interrupted: bool) -> Result:
        """Sort out what became of each setting."""
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
        """The standings of both this race and the one before it, whose settings it may have measured again."""
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
    told: Callable[[Standing], None] = lambda _: None,
    dropped: Callable[[Setting], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
    rest: Callable[[float], None] = time.sleep,
) -> Result:
    """Race settings.

    Args:
        runs: what runs the sample, by setting; at least one.
        rounds: most rounds.
        deadline: time of the clock after which nothing more is begun, once a setting has run.
        first_deadline: that of the first round, where it differs.
        margin: how much slower than the leader a setting may be at its best.
        enough: rounds after which one that is alone need not run on.
        told: hears of each run.
        dropped: hears of each setting that is out.
        clock: gives seconds.
        rest: waits that many seconds before each run.

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
                told(standing)
            running = [standing for standing in left if not standing.fate]
            _drop(running, margin if number else max(margin, _FIRST_MARGIN))
            for standing in left:
                if standing.fate:
                    dropped(standing.setting)
    except _TimeIsUp:
        pass
    except KeyboardInterrupt:
        if not any(standing.rounds for standing in standings.values()):
            raise
        interrupted = True
    return Result.of(standings.values(), interrupted)


def small_runs_first(result: Result) -> Result:
    """Move the smallest of those that differ from the fastest in the micro-batch alone and are level to the front."""
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
    pass


def _drop(left: list[Standing], margin: float) -> None:
    if not left:
        return
    leader = min(left, key=lambda standing: standing.median_s)
    for standing in left:
        slower = standing.best_s / leader.median_s
        if standing is not leader and slower > margin:
            standing.fate = f"{slower:.2f} times as slow as the fastest after {len(standing.rounds)} rounds"
