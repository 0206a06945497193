"""Tuning a real trained bundle, and each of the parts that decide."""

from __future__ import annotations

import dataclasses
import json
import shutil
from contextlib import closing

import numpy as np
import pytest

from onyxrank import InvalidInput, Item, OnyxrankError, ProviderUnavailable, Ranker
from onyxrank.architectures.base import Layout
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.entries import Variant
from onyxrank.bundle.opening import open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.profile import profile_path, write_profile
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import machine_family, usable_cores, usable_cpus
from onyxrank.measure.requests import Request
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.tune import comparison, contestants, search, space, tuning
from onyxrank.tune.agreement import Agreement
from onyxrank.tune.comparison import Comparison, lists_to_compare, reference_of
from onyxrank.tune.options import TuneOptions
from onyxrank.tune.race import Result, Round, Standing
from onyxrank.tune.sample import SAMPLE_FILE, read_requests, write_requests
from onyxrank.tune.space import allowed_variants, layouts, running_providers, setting_groups
from onyxrank.tune.tuning import tune_bundle

CPU, CUDA = PROVIDERS["cpu"], PROVIDERS["cuda"]
QUICK = TuneOptions(budget_s=1.0, providers=("cpu",))
PATIENT = TuneOptions(budget_s=300.0, providers=("cpu",))
"""For what ends by itself, on a machine however slow."""
AGREES = Agreement(
    overlap=1.0, overlap_error=0.0, mean_difference=0.0, largest_difference=0.0, batch_deviation=0.0, faults=()
)
DIFFERS = dataclasses.replace(AGREES, faults=("differs",))
"""What the comparison finds where its own judgement, of a model so small, is not the subject."""


@pytest.fixture(params=["trained_bundle", "shared_bundle"])
def bundle(request):
    return open_bundle(request.getfixturevalue(request.param))


def variant(name, precision="int8_static", **facts):
    return Variant(name=name, precision=precision, files={"model": "onnx/model.onnx"}, **facts)


@pytest.mark.parametrize("cpus", [1, 2, 6, 7, 8, 12, 96])
def test_layouts_use_every_cpu(cpus):
    found = layouts(cpus, cpus)
    assert found[0] == Layout(cpus)
    assert all(layout.threads * layout.sessions == cpus for layout in found)
    assert len(set(found)) == len(found)


def test_layouts_halve_the_share():
    assert layouts(8, 8) == [Layout(8), Layout(4, 2), Layout(2, 4), Layout(1, 8)]
    assert layouts(6, 6) == [Layout(6), Layout(3, 2), Layout(1, 6)]


def test_layouts_with_a_thread_a_core_come_after_those_that_use_every_cpu():
    assert layouts(4, 2) == [Layout(4), Layout(2, 2), Layout(1, 4), Layout(2), Layout(1, 2)]


def test_only_variants_that_may_be_loaded_unasked(tiny_bundle):
    manifest = dataclasses.replace(
        open_bundle(tiny_bundle).manifest,
        variants=(
            variant("fp32", "fp32"),
            variant("good"),
            variant("refused", gate={"passed": False}),
            variant("dependent", batch_invariant=False),
            variant("elsewhere", machines=("arm64",)),
            variant("half", "fp16"),
            variant("brain", "bf16"),
        ),
    )
    assert [each.name for each in allowed_variants(manifest, CPU, "avx2")] == ["fp32", "good"]
    assert [each.name for each in allowed_variants(manifest, CUDA, "avx2")] == ["fp32", "half"]
    assert [each.name for each in allowed_variants(manifest, PROVIDERS["openvino_bf16"], "avx2")] == ["brain"]


def test_the_default_is_the_first_of_its_heat(bundle):
    for group in setting_groups(bundle.manifest, [CPU], machine_family(), 4, 4):
        assert (group[0].threads, group[0].sessions) == (4, 1)
        assert group[0].micro_batch_tokens == ARCHITECTURES[bundle.manifest.architecture].default_micro_batch_tokens
        assert len(set(group)) == len(group) == 15


def test_providers_that_do_not_run_are_told(monkeypatch):
    monkeypatch.setattr(space, "offered_providers", lambda name: ["CPUExecutionProvider"])
    running, absent = running_providers(None)
    assert [provider.name for provider in running] == ["cpu"]
    assert set(absent) == set(PROVIDERS) - {"cpu"}
    with pytest.raises(ProviderUnavailable):
        running_providers(["cuda"])
    with pytest.raises(InvalidInput, match="no provider 'tpu'"):
        running_providers(["tpu"])


@pytest.mark.parametrize("precision", ["fp32", "int8_static"])
def test_a_tuned_bundle_loads_with_what_was_found_and_ranks_the_same(bundle, tmp_path, monkeypatch, precision):
    """Whichever precision a machine finds fastest, on whichever of the providers that run here."""
    mine = {each.name for each in bundle.manifest.variants if each.precision == precision}
    monkeypatch.setattr(
        tuning, "setting_groups", lambda *given: [each for each in setting_groups(*given) if each[0].variant in mine]
    )
    if precision != "fp32":  # whether a model so small agrees in int8 is a matter of chance
        monkeypatch.setattr(comparison, "compare", lambda *_: AGREES)
    folder = shutil.copytree(bundle.folder, tmp_path / "bundle")
    notes = []
    options = dataclasses.replace(QUICK, providers=None)
    profile = tune_bundle(open_bundle(folder), options, lambda share, note: notes.append((share, note)))
    assert json.loads(json.dumps(profile.to_json())) == profile.to_json()
    [row] = [row for row in profile.report["table"] if Setting.of(row) == profile.setting]
    assert row["agreement"]["faults"] == []
    assert row["agreement"]["overlap"] + 2 * row["agreement"]["overlap_error"] >= 0.9
    assert profile.report["requests"]["source"] == "the bundle's sample"
    assert notes[-1] == (1.0, "comparing with fp32")
    assert all(0 <= share <= 1 for share, _ in notes)
    write_profile(profile, profile_path(folder, profile.fingerprint))
    request = read_requests(folder / SAMPLE_FILE)[0]
    # The provider too, since int8 rounds a little otherwise on another.
    same = {"variant": profile.setting.variant, "provider": profile.setting.provider}
    with Ranker.load(folder) as tuned, Ranker.load(folder, **same) as named:
        info = tuned.info()
        assert np.allclose(
            tuned.score(request.history, request.items), named.score(request.history, request.items), atol=1e-5
        )
    assert {name: info[name] for name in dataclasses.asdict(profile.setting)} == dataclasses.asdict(profile.setting)
    assert info["profile"]["target"] == "latency"


def test_a_list_too_long_for_the_budget_is_cut_so_that_every_variant_has_its_turn(bundle, tmp_path):
    request = Request(["tent"], [Item(f"i{number}", "camping stove", "") for number in range(3000)])
    write_requests([request], tmp_path / "long.jsonl")
    options = dataclasses.replace(QUICK, requests=tmp_path / "long.jsonl")
    report = tune_bundle(bundle, options).report["requests"]
    [(_, items)] = report["raced"]
    assert 16 <= items < report["longest_list"] == 3000
    whole = tune_bundle(bundle, dataclasses.replace(options, exhaustive=True)).report["requests"]
    assert whole["raced"][0][1] == 3000


def test_a_long_list_is_cut_though_the_first_variant_does_not_run(bundle, tmp_path, monkeypatch):
    honest, refused = contestants.open_sessions, []

    def open_sessions(bundle, variant, setting):
        refused.append(variant.name)
        if variant.name == refused[0]:
            raise ProviderUnavailable("no such luck")
        return honest(bundle, variant, setting)

    monkeypatch.setattr(contestants, "open_sessions", open_sessions)
    request = Request(["tent"], [Item(f"i{number}", "camping stove", "") for number in range(3000)])
    write_requests([request], tmp_path / "long.jsonl")
    profile = tune_bundle(bundle, dataclasses.replace(QUICK, requests=tmp_path / "long.jsonl"))
    assert profile.setting.variant != refused[0]
    assert profile.report["requests"]["raced"][0][1] < 3000


def test_throughput_keeps_every_caller_busy(bundle, monkeypatch):
    monkeypatch.setattr(tuning, "usable_cpus", lambda: 4)
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    profile = tune_bundle(bundle, dataclasses.replace(QUICK, target="throughput"))
    assert profile.target == "throughput"
    assert len(profile.report["requests"]["raced"]) >= 8
    assert all(row["threads"] * row["sessions"] == 4 for row in profile.report["table"])


def test_what_had_no_turn_is_told(bundle):
    profile = tune_bundle(bundle, dataclasses.replace(QUICK, budget_s=1e-3))
    told, measured = profile.report["settings_unmeasured"], profile.report["table"]
    assert len(measured) == 1
    assert told
    assert str(profile.setting) not in told


def test_settings_that_do_not_open_are_told_and_the_others_race(bundle, monkeypatch):
    honest = contestants.open_sessions

    def open_sessions(bundle, variant, setting):
        if setting.threads == 1:
            raise ProviderUnavailable("no such luck")
        return honest(bundle, variant, setting)

    monkeypatch.setattr(contestants, "open_sessions", open_sessions)
    monkeypatch.setattr(tuning, "usable_cpus", lambda: 2)
    monkeypatch.setattr(tuning, "usable_cores", lambda: 2)
    monkeypatch.setattr(search, "_ROUNDS", 1)
    profile = tune_bundle(bundle, PATIENT)
    assert profile.setting.threads == 2
    assert set(profile.report["settings_failed"].values()) == {"no such luck"}
    monkeypatch.setattr(contestants, "open_sessions", lambda *_: open_sessions(bundle, "", profile_like(profile)))
    with pytest.raises(OnyxrankError, match=r"may be chosen on this machine \(no such luck\)"):
        tune_bundle(bundle, QUICK)


def profile_like(profile):
    return dataclasses.replace(profile.setting, threads=1)


def test_an_interruption_between_the_heats_keeps_the_first(bundle, monkeypatch):
    def interrupt(self, settings):
        if settings:  # at the end all are closed
            raise KeyboardInterrupt

    monkeypatch.setattr(contestants.Contestants, "keep", interrupt)
    profile = tune_bundle(bundle, PATIENT)
    assert profile.report["interrupted"]


def test_the_finalists_behind_the_chosen_one_are_compared_while_there_is_time(bundle, monkeypatch):
    monkeypatch.setattr(search, "_ROUNDS", 1)
    monkeypatch.setattr(comparison, "compare", lambda *_: AGREES)
    profile = tune_bundle(bundle, PATIENT)
    compared = [row["agreement"] is not None for row in profile.report["table"]]
    assert compared == [number < 3 for number in range(len(compared))]
    assert profile.setting == Setting.of(profile.report["table"][0])
    hasty = tune_bundle(bundle, dataclasses.replace(QUICK, budget_s=1e-3))
    assert sum(row["agreement"] is not None for row in hasty.report["table"]) == 1


def test_an_interruption_of_the_comparison_keeps_the_best_and_a_second_ends_it(bundle, monkeypatch):
    calls = []

    def interrupted(times):
        def judge(*arguments):
            calls.append(arguments)
            if len(calls) <= times:
                raise KeyboardInterrupt
            return AGREES

        calls.clear()
        return judge

    monkeypatch.setattr(comparison, "compare", interrupted(1))
    profile = tune_bundle(bundle, QUICK)
    assert profile.report["interrupted"]
    assert profile.report["table"][0]["agreement"]["faults"] == []
    assert len(calls) == 2  # after an interruption the best one only
    monkeypatch.setattr(comparison, "compare", interrupted(2))
    with pytest.raises(KeyboardInterrupt):
        tune_bundle(bundle, QUICK)


def test_the_99th_percentile_is_not_told_from_a_round_or_two(bundle, monkeypatch):
    leader, other = setting_groups(bundle.manifest, [CPU], machine_family(), 2, 2)[0][:2]
    out = Standing(other, [Round(0.1, (0.001,) * 4)], "slow")
    standings = [Standing(leader, [Round(0.04, (0.01,) * 4)] * 25), out]
    monkeypatch.setattr(search.Search, "run", lambda self, groups: Result(standings))
    limited = dataclasses.replace(PATIENT, p99_ms=5.0)
    whole = Standing(other, [Round(0.1, (0.001,) * 4)] * 25)
    asked = []
    monkeypatch.setattr(search.Search, "again", lambda self, settings: asked.append(settings) or Result([whole]))
    assert tune_bundle(bundle, limited).setting == other
    assert asked == [[other]]
    with pytest.raises(OnyxrankError, match=r"no time to tell whether a setting answers .* within 5 ms"):
        tune_bundle(bundle, dataclasses.replace(limited, budget_s=1e-3))
    out.rounds[0] = Round(0.1, (0.006,) * 4)
    with pytest.raises(OnyxrankError, match=r"within 5 ms; the nearest took 10\.0 ms"):
        tune_bundle(bundle, limited)


def test_what_lost_to_graphs_that_disagree_races_again_in_the_time_that_is_left(bundle, monkeypatch):
    groups = setting_groups(bundle.manifest, [CPU], machine_family(), 2, 2)
    fp32 = next(group for group in groups if group[0].variant == reference_of(bundle).variant)
    int8 = next(group for group in groups if group is not fp32)
    standings = [Standing(int8[0], [Round(0.1, (0.1,))] * 3), Standing(fp32[0], [Round(0.3, (0.3,))], "slow")]
    monkeypatch.setattr(tuning, "usable_cpus", lambda: 2)
    monkeypatch.setattr(tuning, "usable_cores", lambda: 2)
    monkeypatch.setattr(search.Search, "run", lambda self, groups: Result(standings))
    found = iter([DIFFERS])
    monkeypatch.setattr(comparison, "compare", lambda *_: next(found, AGREES))
    profile = tune_bundle(bundle, PATIENT)
    assert profile.setting in fp32
    raced = [row for row in profile.report["table"] if row["variant"] == fp32[0].variant]
    assert [row["rounds"] >= 1 for row in raced] == [True] * len(fp32)


def test_the_comparison_stops_at_its_deadline_but_not_before_eight_lists(bundle, monkeypatch):
    reference = reference_of(bundle)
    lists = lists_to_compare(bundle, load_encoder(bundle), None)
    with closing(contestants.Contestants(bundle, lists[:1], 1)) as opened:
        hasty = Comparison(opened, reference, lists, deadline=0.0)
        patient = Comparison(opened, reference, lists, deadline=float("inf"))
        assert not hasty.judge(reference).faults
        assert not patient.judge(reference).faults
        assert (hasty.lists, patient.lists) == (8, len(lists))
        late = Comparison(opened, reference, lists, deadline=float("inf"), end=0.0)
        monkeypatch.setattr(comparison, "compare", lambda _, requests, expected: (len(requests), len(expected)))
        assert late.judge(reference) == (8, 8)
        assert late.lists == len(lists)


def test_the_callers_lists_and_the_bundles_are_compared_by_turns(bundle, tmp_path):
    mine = Request(("steel tent pegs",), (Item("a", "tent"),))
    write_requests([mine], tmp_path / "mine.jsonl")
    lists = lists_to_compare(bundle, load_encoder(bundle), tmp_path / "mine.jsonl")
    assert [len(row.items) for row in lists[:1]] == [1]
    assert len(lists) == 1 + len(lists_to_compare(bundle, load_encoder(bundle), None))


def test_the_exhaustive_search_drops_nothing(bundle, monkeypatch):
    monkeypatch.setattr(search, "_ROUNDS", 1)
    profile = tune_bundle(bundle, dataclasses.replace(PATIENT, exhaustive=True))
    rows = profile.report["table"]
    settings = setting_groups(bundle.manifest, [CPU], machine_family(), usable_cpus(), usable_cores())
    assert len(rows) == sum(map(len, settings))
    assert not [row for row in rows if row["fate"]]


def test_a_limit_that_nothing_keeps_is_an_error_that_names_the_nearest(bundle):
    with pytest.raises(OnyxrankError, match=r"within 1e-06 ms; the nearest took [\d.]+ ms: .* No profile was made"):
        tune_bundle(bundle, dataclasses.replace(QUICK, p99_ms=1e-6))


def test_a_setting_that_disagrees_with_fp32_is_passed_over_with_all_of_its_graphs(bundle, monkeypatch):
    found = iter([DIFFERS])
    monkeypatch.setattr(comparison, "compare", lambda *_: next(found, AGREES))
    monkeypatch.setattr(search, "_ROUNDS", 1)
    profile = tune_bundle(bundle, PATIENT)
    rows = profile.report["table"]
    [refused] = [row for row in rows if row["agreement"] and row["agreement"]["faults"]]
    same = [row for row in rows if row["variant"] == refused["variant"] and row is not refused]
    assert same, "it raced in other layouts"
    assert not [row for row in same if row["agreement"]], "whose scores are the same"
    chosen = next(row for row in rows if row["variant"] != refused["variant"])
    assert Setting.of(chosen) == profile.setting
    assert not chosen["agreement"]["faults"]
    monkeypatch.setattr(comparison, "compare", lambda *_: DIFFERS)
    with pytest.raises(OnyxrankError, match="no setting may be chosen on this machine"):
        tune_bundle(bundle, QUICK)


@pytest.mark.parametrize(
    ("options", "field"),
    [({"target": "speed"}, "target"), ({"p99_ms": 0.0}, "p99_ms"), ({"budget_s": float("nan")}, "budget")],
)
def test_options_are_checked(options, field):
    with pytest.raises(InvalidInput) as caught:
        TuneOptions(**options)
    assert caught.value.field == field


def test_lists_that_cannot_be_compared_are_told_before_anything_is_measured(bundle, tmp_path, monkeypatch):
    unreadable = Request(("steel",), tuple(Item(str(number), "\u200b") for number in range(3)))
    write_requests([Request(("steel",), (Item("a", "tent"),)), unreadable], tmp_path / "mine.jsonl")
    monkeypatch.setattr(tuning, "_RACED", 1)
    monkeypatch.setattr(search.Search, "run", lambda self, groups: pytest.fail("measured"))
    with pytest.raises(InvalidInput, match=r"items\[0\].title has only characters the tokenizer drops"):
        tune_bundle(bundle, dataclasses.replace(QUICK, requests=tmp_path / "mine.jsonl"))


def test_lists_to_compare_are_of_all_sizes_from_the_first_on(bundle, tmp_path):
    rows = [Request(("tent",), tuple(Item(str(item), "tent") for item in range(size))) for size in range(1, 17)]
    write_requests(rows, tmp_path / "rows.jsonl")
    sizes = [len(row.items) for row in lists_to_compare(bundle, load_encoder(bundle), tmp_path / "rows.jsonl")[::2]]
    assert sorted(sizes[:4]) == [4, 8, 12, 16]
    assert sorted(sizes[:16]) == list(range(1, 17))


def test_a_limit_is_told_from_the_large_requests_too(bundle, tmp_path):
    sizes = [1] * 90 + [40] * 10
    rows = [Request((), tuple(Item(str(item), "tent") for item in range(size))) for size in sizes]
    write_requests(rows, tmp_path / "rows.jsonl")
    limited = TuneOptions(budget_s=1.0, requests=tmp_path / "rows.jsonl", p99_ms=1e6)
    raced = tune_bundle(bundle, limited).report["requests"]["raced"]
    assert sorted(items for _, items in raced) == [1] * 9 + [40]


@pytest.mark.parametrize(("count", "rounds"), [(1, 100), (4, 25), (30, 10)])
def test_a_limit_is_told_from_a_hundred_requests_whatever_their_number(bundle, tmp_path, monkeypatch, count, rounds):
    honest, asked = search.race, []

    def race(runs, *, rounds, **options):
        asked.append(rounds)
        return honest(runs, rounds=1, **options)

    monkeypatch.setattr(search, "race", race)
    write_requests([Request((), (Item("a", "tent"),))] * count, tmp_path / "rows.jsonl")
    tune_bundle(bundle, TuneOptions(budget_s=1.0, requests=tmp_path / "rows.jsonl", p99_ms=1e6, exhaustive=True))
    assert asked == [rounds]


def test_many_callers_find_room(bundle):
    encoder = load_encoder(bundle)
    request = encoder.encode(("steel",), [Item(str(number), "tent " * 9) for number in range(4000)])
    with closing(contestants.Contestants(bundle, [request] * 16, 16)) as opened:
        [run] = opened.runs([reference_of(bundle)]).values()
        assert len(run().requests_s) == 16
