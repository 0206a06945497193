from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from onyxrank import BundleError, InvalidInput, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.loading import choices
from onyxrank.loading import profile as profile_module
from onyxrank.loading.profile import Profile, find_profile, graphs_of, profile_path, read_profile, write_profile
from onyxrank.loading.setting import Setting
from onyxrank.machine.fingerprint import machine_fingerprint

ITEMS = ["steel tent", "desk lamp", "red running shoes", "coffee grinder"]
SETTING = Setting(variant="fp32", provider="cpu", threads=1, sessions=2, micro_batch_tokens=24)


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture
def profile(folder):
    bundle = open_bundle(folder)
    return Profile(
        setting=SETTING,
        graphs=graphs_of(bundle, bundle.manifest.variants[0]),
        fingerprint=machine_fingerprint(),
        target="latency",
        report={"measured_at": "2026-01-01T00:00:00+00:00"},
    )


def put(profile, folder):
    path = profile_path(folder, machine_fingerprint())
    write_profile(profile, path)
    return path


def test_a_profile_reads_back_as_it_was(profile, folder):
    path = put(profile, folder)
    assert read_profile(path) == profile
    write_profile(dataclasses.replace(profile, target="throughput"), path)
    assert read_profile(path).target == "throughput"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_profile_of_this_machine_is_used_and_said(profile, folder):
    path = put(profile, folder)
    with Ranker.load(folder) as tuned, Ranker.load(folder, profile=None) as default:
        info = tuned.info()
        assert np.array_equal(tuned.score(["tent"], ITEMS), default.score(["tent"], ITEMS))
        assert default.info()["profile"] is None
    assert info["profile"] == {"file": str(path), "target": "latency", "measured_at": "2026-01-01T00:00:00+00:00"}
    assert {name: info[name] for name in ("threads", "sessions", "micro_batch_tokens")} == {
        "threads": 1, "sessions": 2, "micro_batch_tokens": 24,
    }  # fmt: skip
    assert info["variant_reason"] == "measured to be the fastest on this machine"
    assert info["profile_hint"] == ""


def test_what_the_caller_chooses_stands_against_it(profile, folder):
    put(profile, folder)
    with Ranker.load(folder, micro_batch_tokens=48) as ranker:
        info = ranker.info()
    assert (info["micro_batch_tokens"], info["sessions"]) == (48, 2)
    assert info["variant_reason"] == "measured to be the fastest on this machine, but with other micro_batch_tokens"
    for choice in ({"variant": "fp32"}, {"provider": "cpu"}):
        with Ranker.load(folder, **choice) as ranker:
            info = ranker.info()
        assert info["profile"] is None
        assert "is not used: another provider or variant was asked for" in info["profile_hint"]
        assert info["sessions"] == 1


@pytest.mark.parametrize(
    ("asked", "threads", "sessions"), [({"threads": 1}, 1, 1), ({"sessions": 4}, 2, 4), ({"threads": 3}, 3, 1)]
)
def test_threads_and_sessions_are_the_callers_or_the_profiles_but_not_one_of_each(
    profile, folder, monkeypatch, asked, threads, sessions
):
    monkeypatch.setattr(choices, "usable_cpus", lambda: 8)
    put(profile, folder)
    with Ranker.load(folder, **asked) as ranker:
        info = ranker.info()
    assert (info["threads"], info["sessions"], info["micro_batch_tokens"]) == (threads, sessions, 24)
    assert info["variant_reason"].endswith("but with other threads, sessions")


def test_no_profile_gives_a_hint(folder, profile):
    with Ranker.load(folder, threads=1) as ranker:
        assert "`onyxrank tune` measures" in ranker.info()["profile_hint"]
    elsewhere = {**machine_fingerprint(), "cpus": 512}
    write_profile(dataclasses.replace(profile, fingerprint=elsewhere), profile_path(folder, elsewhere))
    with Ranker.load(folder, threads=1) as ranker:
        info = ranker.info()
    assert info["profile"] is None
    assert "1 of other machines or versions, the nearest with cpus 512 there" in info["profile_hint"]
    profile_path(folder, elsewhere).with_name("0.json").write_text("damaged")
    write_profile(profile, profile_path(folder, elsewhere).with_name("mine.json"))
    with Ranker.load(folder, threads=1) as ranker:
        assert "(1 of other machines" in ranker.info()["profile_hint"]


def test_a_profile_of_an_older_onyxrank_does_not_hold(folder, profile):
    here = machine_fingerprint()
    older = here | {"runtimes": here["runtimes"] | {"onyxrank": "0.0.1"}}
    path = profile_path(folder, older)
    write_profile(dataclasses.replace(profile, fingerprint=older), path)
    with Ranker.load(folder, threads=1) as ranker:
        assert "onyxrank 0.0.1" in ranker.info()["profile_hint"]
    with pytest.raises(BundleError, match=r"onyxrank 0\.0\.1"):
        Ranker.load(folder, profile=path)


def test_a_profile_of_another_schema_stops_no_service(folder, profile):
    path = put(profile, folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2, "more": 1}))
    with Ranker.load(folder, threads=1) as ranker:
        info = ranker.info()
    assert info["profile"] is None
    assert "of schema version 2, not 1; run `onyxrank tune` again" in info["profile_hint"]
    with pytest.raises(BundleError, match="of schema version 2"):
        Ranker.load(folder, profile=path)


def test_a_profile_of_another_machine_is_not_used_silently(folder, profile):
    strange = dataclasses.replace(profile, fingerprint={**machine_fingerprint(), "cpus": 512})
    path = put(strange, folder)  # under this machine's name
    with Ranker.load(folder, threads=1) as ranker:
        assert "measured on another machine or version (cpus 512 there" in ranker.info()["profile_hint"]
    with pytest.raises(BundleError, match="does not hold here: it was measured on another machine"):
        Ranker.load(folder, profile=path)


def test_a_profile_of_other_graphs_is_not_used(folder, profile):
    path = put(dataclasses.replace(profile, graphs={"model": "0" * 64}), folder)
    with Ranker.load(folder, threads=1) as ranker:
        assert "no graphs like those measured as 'fp32'" in ranker.info()["profile_hint"]
    with pytest.raises(BundleError, match="no graphs like those measured"):
        Ranker.load(folder, profile=path)


def test_a_variant_that_the_gate_refused_is_not_taken_from_a_profile(folder, profile):
    bundle = open_bundle(folder)
    refused = dataclasses.replace(bundle.manifest.variants[0], gate={"passed": False})
    forced = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, variants=(refused,)))
    put(profile, folder)
    assert find_profile(bundle, "auto").profile == profile
    assert find_profile(forced, "auto").profile is None


def test_a_profile_whose_provider_does_not_start_makes_room(folder, profile):
    setting = dataclasses.replace(SETTING, provider="openvino")
    put(dataclasses.replace(profile, setting=setting), folder)
    with Ranker.load(folder, threads=1) as ranker:
        info = ranker.info()
    if info["provider"] == "openvino":
        pytest.skip("the plugin runs on this machine")
    assert info["provider"] == "cpu"
    assert info["profile"] is None
    assert any(note.startswith("openvino: provider 'openvino' is not available") for note in info["provider_notes"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": "1"}, "schema_version must be"),
        ({"setting": 1}, "setting must be an object"),
        ({"setting": {"variant": "fp32"}}, "setting.provider is missing"),
        ({"graphs": {"model": 1}}, "a SHA-256 per role"),
        ({"target": None}, "target must be a string"),
        ({"more": 1}, "more: no such key"),
    ],
)
def test_a_damaged_profile_is_an_error_that_names_it(folder, profile, change, message):
    path = put(profile, folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=message) as caught:
        Ranker.load(folder)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("change", [{"threads": 0}, {"sessions": True}, {"provider": "tpu"}])
def test_a_setting_that_cannot_be(folder, profile, change):
    path = put(profile, folder)
    data = json.loads(path.read_text())
    data["setting"] |= change
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match="is damaged: "):
        Ranker.load(folder)


def test_a_profile_that_is_not_there_or_no_json(folder, tmp_path):
    with pytest.raises(BundleError, match="there is no profile"):
        Ranker.load(folder, profile=tmp_path / "absent.json")
    (tmp_path / "torn.json").write_text('{"schema_ver')
    with pytest.raises(BundleError, match="cannot be read as JSON"):
        Ranker.load(folder, profile=tmp_path / "torn.json")
    with pytest.raises(InvalidInput):
        Ranker.load(folder, profile=True)


def test_an_interrupted_write_leaves_the_old_one(folder, profile, monkeypatch):
    path = put(profile, folder)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(profile_module.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_profile(dataclasses.replace(profile, target="throughput"), path)
    assert read_profile(path) == profile
    assert len(list(path.parent.iterdir())) == 1


def test_a_setting_says_itself_in_one_line():
    assert str(SETTING) == "fp32 on cpu, 2 sessions of 1 thread, runs of 24 tokens"
    assert str(dataclasses.replace(SETTING, sessions=1, threads=4)) == "fp32 on cpu, 4 threads, runs of 24 tokens"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threads": 5000}, "threads must be at most 1024"),
        ({"sessions": 5000}, "sessions must be at most 1024"),
        ({"threads": 64, "sessions": 64}, "64 sessions of 64 threads are more than 1024"),
    ],
    ids=["threads", "sessions", "both"],
)
def test_a_profile_of_too_many_threads_is_damaged(profile, folder, change, says):
    path = put(profile, folder)
    text = json.loads(path.read_text())
    text["setting"] |= change
    path.write_text(json.dumps(text))
    with pytest.raises(BundleError, match=f"is damaged: setting: {says}"):
        Ranker.load(folder)
    with pytest.raises(InvalidInput, match=says):
        Ranker.load(folder, profile=None, **change)


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b"], ids=["long", "zero byte"])
def test_a_profile_at_a_path_that_the_system_does_not_take(folder, path):
    with pytest.raises(BundleError, match=r"there is no profile .+ \(.+\)"):
        Ranker.load(folder, profile=path)
