"""The results that are kept: each with its record, an index that says which are current, and pages that cite them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import cited
import keep
import provenance
import results_index
from cited_blocks import BLOCKS
from provenance import ROOT

STATES = json.loads(provenance.STATES.read_text())
EPYC = "AMD EPYC, cpu family 25, model 17, stepping 1"
XEON = "Intel(R) Xeon(R) Processor @ 2.80GHz, cpu family 6, model 106, stepping 6"
ARM = "aarch64, CPU implementer 0x41, CPU variant 0x1, CPU part 0xd40, CPU revision 1"


def test_every_result_has_a_full_record():
    assert results_index.unrecorded() == []
    for path, record in results_index.recorded():
        assert set(record) - {"recorded"} == set(provenance.FIELDS), path
        assert set(record["states"]) == set(STATES["kinds"][record["kind"]]["depends_on"]), path
        for part, state in record["states"].items():
            assert 1 <= state <= len(STATES["parts"][part]), path
        assert all(record[name] for name in ("commit", "date", "machine", "command")), path


def test_the_index_is_that_of_the_results():
    index = results_index.entries()
    assert json.loads((provenance.RESULTS / results_index.INDEX).read_text()) == index, "run make results"
    assert (provenance.RESULTS / results_index.PAGE).read_text() == results_index.page(index), "run make results"


def test_a_machines_results_are_in_its_folder():
    for path, record in results_index.recorded():
        folder = path.relative_to(provenance.RESULTS).parts[0]
        assert folder in ("quality", provenance.machine_name(record["machine"])), path


@pytest.mark.parametrize("page", cited.PAGES)
def test_the_figures_of_a_page_are_those_of_the_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("<!-- figures: ") == text.count("<!-- end of figures -->") > 0
    assert cited.render(text, BLOCKS, cited.Results()) == text, "run make results"


def test_every_figure_that_can_be_cited_is():
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in cited.PAGES)
    assert [name for name in BLOCKS if f"<!-- figures: {name} -->" not in pages] == []


def test_a_figure_of_a_state_that_has_passed_cannot_be_cited_as_current(tmp_path):
    files = {"old.json": "the engine moves less", "new.json": None}
    (tmp_path / "index.json").write_text(json.dumps([{"file": name, "earlier": why} for name, why in files.items()]))
    for name in files:
        (tmp_path / name).write_text("{}")
    results = cited.Results(tmp_path)
    assert results.current("new.json") == results.earlier("old.json") == {}
    with pytest.raises(ValueError, match=r"old\.json is cited as current, but since then: the engine moves less"):
        results.current("old.json")
    for name in ("new.json", "absent.json"):
        with pytest.raises(ValueError, match="earlier state, but it is current or not in the index"):
            results.earlier(name)
    with pytest.raises(ValueError, match="not in the index"):
        results.current("absent.json")


def test_figures_stand_between_their_marks():
    text = (
        "a <!-- figures: one -->old<!-- end of figures --> b\n<!-- figures: two -->\nold\n<!-- end of figures -->\n"
    )
    written = cited.render(text, {"one": lambda _: "1", "two": lambda _: "| 2 |"}, None)
    assert written == text.replace("old", "1", 1).replace("old", "| 2 |")
    with pytest.raises(KeyError, match="two"):
        cited.render(text, {"one": lambda _: "1"}, None)


def test_a_result_is_earlier_from_the_first_change_of_a_part_it_depends_on():
    parts = {
        "engine": [
            {"since": "1", "change": "first"},
            {"since": "3", "change": "graph"},
            {"since": "5", "change": "queue"},
        ],
        "tune": [{"since": "2", "change": "tune"}, {"since": "4", "change": "ties"}],
    }
    why = {
        (3, 2): None,
        (2, 2): "queue",
        (1, 2): "graph",
        (3, 1): "ties",
        (2, 1): "ties",
    }
    for (engine, tune), reason in why.items():
        assert results_index.why_earlier({"states": {"engine": engine, "tune": tune}}, parts) == reason
    assert results_index.why_earlier({"states": {"tune": 2}}, parts) is None


def test_what_is_stamped_now_is_current():
    for kind in STATES["kinds"]:
        record = provenance.stamp(kind, ("make", kind))
        assert tuple(record) == provenance.FIELDS
        assert results_index.why_earlier(record, STATES["parts"]) is None


def test_changes_are_listed_in_the_order_they_came():
    for changes in STATES["parts"].values():
        assert changes == sorted(changes, key=lambda change: change["since"])
        assert all(set(change) <= {"since", "commit", "change"} for change in changes)


@pytest.mark.parametrize(
    ("cpu", "family", "gpu", "name"),
    [
        (EPYC, "avx512_vnni", None, "epyc-25-17-vnni"),
        (XEON, "avx512_vnni", None, "xeon-6-106-vnni"),
        (EPYC.replace("25", "23").replace("17", "1"), "avx2", None, "epyc-23-1-avx2"),
        (XEON, "avx512", "NVIDIA H200", "xeon-6-106-avx512-h200"),
        (ARM, "arm64", None, "aarch64-0x41-0xd40-arm64"),
        ("Apple M3", "arm64", None, "m3-arm64"),
        ("", "other", None, "cpu-other"),
    ],
)
def test_a_machine_has_a_short_name(cpu, family, gpu, name):
    assert provenance.machine_name({"cpu_model": cpu, "machine_family": family, "gpu": gpu}) == name


def test_a_command_names_no_folder_of_whoever_ran_it():
    words = [
        "python",
        str(ROOT / "benchmarks/race.py"),
        "--data",
        "/home/me/office",
        "--out=/tmp/x",
        "../data/y",
        "a=/b",
    ]
    shown = ["python", "benchmarks/race.py", "--data", "office", "--out=x", "y", "a=/b"]
    assert [provenance.shown(word) for word in words] == shown


def test_without_a_repository_the_commit_is_not_known(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    record = provenance.stamp("race")
    assert record["commit"] is None
    assert record["dirty"] is None
    assert "commit that is not known" in provenance.origin(record)


def test_the_output_of_a_command_is_kept_with_its_record(monkeypatch, tmp_path):
    monkeypatch.setattr(keep, "RESULTS", tmp_path)
    for name, output in (("cross/figures", '{"a": 1}'), ("cross/report", "refused")):
        command = [sys.executable, "-c", f"import sys; print({output!r}); sys.exit(3)"]
        assert keep.main(["training", name, "--", *command]) == 3
    kept = json.loads((tmp_path / "cross/figures.json").read_text())
    assert kept["a"] == 1
    assert kept["record"]["kind"] == "training"
    assert (tmp_path / "cross/report.txt").read_text() == "refused\n"
    assert results_index.unrecorded(tmp_path) == []
    assert [path.name for path, _ in results_index.recorded(tmp_path)] == ["figures.json", "report.txt"]
    (tmp_path / "cross/figures.png").touch()
    (tmp_path / "cross/other.png").touch()
    assert results_index.unrecorded(tmp_path) == ["cross/other.png"]
