from __future__ import annotations

import json
import shutil

import pytest

from onyxrank import InvalidInput, Ranker
from onyxrank.cli.durations import seconds


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture
def requests(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({"history": ["steel tent"], "items": ["desk lamp", "tent pegs", "dog leash"]}) + "\n")
    return path


def test_tune_writes_a_profile_that_loading_uses(call, bundle, requests):
    status, out, errors = call("tune", bundle, "--requests", requests, "--budget", "1s", "--provider", "cpu")
    assert status == 0
    assert "chosen for latency: fp32 on cpu" in out
    assert "keeps 100.0% of the best items" in out
    assert str(requests) in out.replace("\n", "")
    [path] = (bundle / "profiles").iterdir()
    assert path.name in "".join(errors)
    with Ranker.load(bundle) as ranker:
        assert ranker.info()["profile"]["file"] == str(path)


def test_requests_that_race_several_times_at_once_count_once(call, bundle, requests):
    asked = ("--requests", requests, "--budget", "1s", "--provider", "cpu", "--target", "throughput")
    status, out, _ = call("tune", bundle, *asked)
    assert status == 0
    assert "; 1 of them raced" in " ".join(out.split())
    assert "in which several are answered at once" in " ".join(out.split())


def test_tune_as_json_elsewhere_and_a_slim_folder(call, bundle, requests, tmp_path):
    profile, slim = tmp_path / "profile.json", tmp_path / "slim"
    asked = ("tune", bundle, "--requests", requests, "--budget", "1", "--provider", "cpu", "--json")
    status, out, _ = call(*asked, "--out", profile, "--export", slim)
    assert status == 0
    assert json.loads(out) == json.loads(profile.read_text())
    assert not (bundle / "profiles").exists()
    assert not (slim / "model.safetensors").exists()
    with Ranker.load(slim) as ranker, Ranker.load(bundle, profile=profile) as other:
        assert ranker.info()["profile"]
        assert other.info()["profile"]["file"] == str(profile)


def test_what_cannot_be_tuned_is_one_clear_line_and_writes_nothing(call, bundle, requests, tmp_path):
    for arguments, message in (
        (("--budget", "soon"), "budget must be a time such as 120s or 5m"),
        (("--target", "speed"), "target must be one of latency, throughput"),
        (("--requests", tmp_path / "absent.jsonl"), "no such file"),
        (("--provider", "tpu"), "no provider 'tpu'"),
        (("--requests", requests, "--budget", "1", "--p99-ms", "0.000001"), "No profile was made"),
        (("--export", bundle, "--requests", requests, "--budget", "1"), "exists; choose another folder"),
        (("--export", bundle, "--overwrite"), "is the bundle that was tuned"),
        (("--out", bundle / "onyxrank.json" / "profile.json"), "cannot be written; name another file"),
    ):
        status, out, errors = call("tune", bundle, *arguments)
        assert (status, out, len(errors)) == (1, "", 1)
        assert message in errors[0]
    assert not (bundle / "profiles").exists()


@pytest.mark.parametrize(("text", "expected"), [("120", 120), ("90s", 90), ("1.5m", 90), (" 2 min ", 120)])
def test_times_are_read(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "-1s", "1h", "1e3"])
def test_other_times_are_refused(text):
    with pytest.raises(InvalidInput):
        seconds(text)


def test_bench_measures_the_tuned_setting_with_costs_and_a_report(call, bundle, requests, tmp_path):
    assert call("tune", bundle, "--requests", requests, "--budget", "1", "--provider", "cpu")[0] == 0
    small = ("--items", "3", "--history-tokens", "8", "--item-tokens", "8", "--repeats", "2", "--no-eager")
    page = tmp_path / "report" / "bench.html"
    status, out, errors = call("bench", bundle, *small, "--price", "0.36", "--html", page, "--json")
    assert status == 0
    report = json.loads(out)
    assert [way["name"] for way in report["ways"]] == ["fp32", "tuned"]
    for way in report["ways"]:
        assert way["cost_per_million"] == pytest.approx(100 / way["latency"]["items_per_s"], rel=1e-2)
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "tuned" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "src=" not in text
    status, out, errors = call("bench", bundle, *small, "--price", "-1")
    assert (status, out, len(errors)) == (1, "", 1)
    assert "price must be a positive number" in errors[0]
    status, out, _ = call("bench", bundle, *small, "--variant", "fp32", "--price", "1")
    assert "per million" in out
    assert "tuned" not in out
