from __future__ import annotations

import dataclasses
from contextlib import closing

import pytest

from onyxrank import OnyxrankError
from onyxrank.bundle.opening import open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import machine_family
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.tune import contestants
from onyxrank.tune.comparison import lists_to_compare
from onyxrank.tune.space import setting_groups

CPU = PROVIDERS["cpu"]


@pytest.fixture(params=["trained_bundle", "shared_bundle"])
def bundle(request):
    return open_bundle(request.getfixturevalue(request.param))


def test_sessions_are_closed_with_the_last_setting_that_uses_them(bundle):
    lists = lists_to_compare(bundle, load_encoder(bundle), None)
    first, second = setting_groups(bundle.manifest, [CPU], machine_family(), 1, 1)[0][:2]
    with closing(contestants.Contestants(bundle, lists[:1], 1)) as opened:
        scores = [opened.scheduler(each).score(lists[:1])[0] for each in (first, second)]
        [sessions] = opened._sessions.values()
        opened.release(first)
        assert opened.scheduler(second).score(lists[:1])[0].tolist() == scores[1].tolist()
        opened.release(first)
        opened.release(second)
        with pytest.raises(OnyxrankError, match="closed"):
            next(iter(sessions.values())).run({})
        assert opened.scheduler(first).score(lists[:1])[0].tolist() == scores[0].tolist(), "opened again"


def test_in_a_race_all_settings_have_the_same_lengths_whoever_ran_before(bundle, monkeypatch):
    lists = lists_to_compare(bundle, load_encoder(bundle), None)
    seen = []
    monkeypatch.setattr(contestants, "shortened", lambda request, turn: seen.append(turn) or request)
    first, second = setting_groups(bundle.manifest, [CPU], machine_family(), 1, 1)[0][:2]
    with closing(contestants.Contestants(bundle, lists[:1], 1)) as opened:
        before = opened.runs([first])
        for _ in range(3):
            before[first]()
        runs = opened.runs([first, second], 3)
        for _ in range(2):
            for setting in (first, second):
                runs[setting]()
    assert seen == [0, 1, 2, 3, 3, 4, 4]


def test_sessions_that_pad_to_a_micro_batchs_sizes_are_of_that_micro_batch():
    small, large = (
        Setting(variant="fp32", provider="cuda", threads=1, sessions=1, micro_batch_tokens=tokens)
        for tokens in (256, 4096)
    )
    on_cpu = [dataclasses.replace(setting, provider="cpu") for setting in (small, large)]
    assert contestants._sessions_key(small) != contestants._sessions_key(large)
    assert contestants._sessions_key(on_cpu[0]) == contestants._sessions_key(on_cpu[1])
