from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onyxrank import OnyxrankError
from onyxrank.loading.setting import Setting
from onyxrank.tune.race import Result, Round, Standing, race, small_runs_first


def setting(name):
    return Setting(variant=name, provider="cpu", threads=1, sessions=1, micro_batch_tokens=1)


class Machine:
    """Time passes only while a setting runs, as long as its script says; the last entry repeats."""

    def __init__(self, scripts):
        self.now = 0.0
        self.calls = []
        self.runs = {setting(name): self._run(name, script) for name, script in scripts.items()}

    def _run(self, name, script):
        def run():
            self.calls.append(name)
            seconds = script[min(self.calls.count(name), len(script)) - 1]
            if isinstance(seconds, BaseException):
                raise seconds
            self.now += seconds
            return Round(seconds, (seconds,))

        return run

    def race(self, **options):
        options = {"rounds": 9, "deadline": 1e9} | options
        return race(self.runs, clock=lambda: self.now, rest=lambda _: None, **options)


def names(result):
    return [standing.setting.variant for standing in result.standings]


def test_the_fastest_wins_and_the_slow_are_not_measured_again():
    machine = Machine({"slow": [2.0], "near": [1.05], "fast": [1.0], "behind": [1.3]})
    result = machine.race(rounds=5)
    assert names(result) == ["fast", "near", "behind", "slow"]
    assert [len(standing.rounds) for standing in result.standings] == [5, 5, 2, 1]
    assert "2.00 times as slow" in result.standings[-1].fate
    assert not result.interrupted


def test_who_is_out_is_told():
    broken = OnyxrankError("out of memory")
    machine, out = Machine({"slow": [2.0], "broken": [broken], "fast": [1.0], "behind": [1.3]}), []
    machine.race(rounds=3, on_drop=out.append)
    assert sorted(each.variant for each in out[:2]) == ["broken", "slow"]
    assert [each.variant for each in out[2:]] == ["behind"]


def test_one_disturbed_round_drops_nobody():
    machine = Machine({"fast": [1.4, 1.0], "near": [1.05]})
    result = machine.race(rounds=7)
    assert names(result) == ["fast", "near"]
    assert [len(standing.rounds) for standing in result.standings] == [7, 7]


def test_the_leader_alone_is_measured_three_times_and_no_more():
    machine = Machine({"fast": [1.0], "slow": [9.0]})
    assert [len(standing.rounds) for standing in machine.race().standings] == [3, 1]


def test_time_ends_it_with_what_was_measured():
    machine = Machine({"a": [1.0], "b": [1.0], "c": [1.0]})
    result = machine.race(deadline=4.5)
    assert sum(len(standing.rounds) for standing in result.standings) == 5
    assert Machine({"a": [1.0]}).race(deadline=-1.0).standings[0].rounds  # one at least


def test_an_interruption_keeps_the_best_so_far():
    machine = Machine({"fast": [1.0, KeyboardInterrupt()], "slow": [1.2]})
    result = machine.race()
    assert result.interrupted
    assert names(result) == ["fast", "slow"]
    with pytest.raises(KeyboardInterrupt):
        Machine({"fast": [KeyboardInterrupt()]}).race()


def test_any_other_error_is_not_swallowed():
    with pytest.raises(RuntimeError):
        Machine({"fast": [1.0, RuntimeError()]}).race()


def test_percentiles_are_of_requests():
    result = race(
        {setting("a"): lambda: Round(3.0, (0.5, 2.5))}, rounds=1, deadline=1e9, rest=lambda _: None
    ).standings[0]
    assert (result.percentile_s(0.5), result.percentile_s(0.99), result.median_s) == (0.5, 2.5, 3.0)
    hundred = Standing(setting("b"), [Round(1.0, tuple(range(1, 101)))])
    assert (hundred.percentile_s(0.5), hundred.percentile_s(0.99), hundred.percentile_s(1.0)) == (50, 99, 100)


def test_a_setting_that_does_not_run_is_out_with_its_reason():
    machine = Machine({"broken": [OnyxrankError("no card")], "fast": [1.0], "late": [1.05, OnyxrankError("lost")]})
    result = machine.race(rounds=4)
    assert names(result) == ["fast", "late"]
    assert result.failed == {setting("broken"): "no card"}
    assert result.standings[1].fate == "lost"
    assert Machine({"broken": [OnyxrankError("no card")]}).race().failed == {setting("broken"): "no card"}


def test_what_had_no_turn_is_named():
    machine = Machine({"a": [1.0], "b": [1.0], "c": [1.0]})
    result = machine.race(deadline=1.5)
    assert len(result.standings) == 2
    assert len(result.unmeasured) == 1
    assert not machine.race(deadline=machine.now, first_deadline=machine.now + 10).unmeasured


def test_a_slow_setting_is_not_first_because_it_was_measured_last():
    usual, slow = Standing(setting("usual"), [Round(1.0, ())] * 3), Standing(setting("slow"), [Round(4.0, ())])
    out = Standing(setting("out"), [Round(0.5, ())], "lost")
    never = Standing(setting("never"))
    both = Result.of([slow, never], interrupted=True).after(Result.of([usual, out], interrupted=False))
    assert names(both) == ["usual", "slow", "out"]
    assert both.unmeasured == [setting("never")]
    assert both.interrupted
    again = Standing(setting("usual"), [Round(2.0, ())])
    assert Result.of([again], interrupted=False).after(Result.of([usual], interrupted=False)).standings == [again]


@given(st.lists(st.floats(1.0, 5.0), min_size=1, max_size=6), st.integers(1, 6))
def test_the_fastest_of_steady_settings_is_first_whatever_the_order(seconds, rounds):
    machine = Machine({str(number): [each] for number, each in enumerate(seconds)})
    result = machine.race(rounds=rounds)
    assert result.standings[0].median_s == min(seconds)
    assert len(result.standings) == len(seconds)


def test_of_runs_that_are_level_the_smallest_go_first():
    def standing(tokens, seconds, threads=1, fate=""):
        runs = Setting(
            variant="fp32", provider="cpu", threads=threads, sessions=2 // threads, micro_batch_tokens=tokens
        )
        return Standing(runs, [Round(seconds, (seconds,))], fate)

    def order(*standings):
        return [each.setting.micro_batch_tokens for each in small_runs_first(Result(list(standings))).standings]

    fastest = standing(1024, 1.0)
    assert order(fastest, standing(512, 1.01), standing(256, 1.04)) == [512, 1024, 256]
    assert order(fastest, standing(2048, 1.01)) == [1024, 2048]
    assert order(fastest, standing(256, 1.01, threads=2)) == [1024, 256]
    assert order(fastest, standing(256, 1.01, fate="out")) == [1024, 256]
    assert order(standing(1024, 1.0, fate="out")) == [1024]
    assert order() == []
