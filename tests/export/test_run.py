from __future__ import annotations

import json

import pytest
from short_training import LIMITS, facts

from onyxrank_export.training.run import RunError, read_run, write_json


def test_a_run_is_read_back(trained_run, aisle_data):
    run = read_run(trained_run)
    assert run.architecture == "cross"
    assert run.limits == LIMITS
    assert run.data_path == aisle_data
    assert "path" not in run.facts["data"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.update(schema_version=2), "newer onyxrank"),
        (lambda run: run.update(finished=False), "did not finish"),
        (lambda run: run.pop("config"), "damaged"),
        (lambda run: run["config"]["limits"].update(item_tokens=0), "damaged"),
        (lambda run: run["data"].update(path=None), "damaged"),
    ],
    ids=["newer", "unfinished", "key-missing", "limits", "type"],
)
def test_a_run_that_cannot_be_used_says_why(trained_run, tmp_path, change, message):
    content = facts(trained_run)
    change(content)
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=message):
        read_run(tmp_path)


def test_what_is_no_run_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match="onyxrank train --data"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_bytes(b"\xff")
    with pytest.raises(RunError, match="damaged"):
        read_run(tmp_path)


def test_a_figure_that_cannot_be_told_is_null(tmp_path):
    write_json(tmp_path / "figures.json", {"auc": float("nan"), "all": [1.5, {"loss": float("inf")}]})
    assert json.loads((tmp_path / "figures.json").read_text()) == {"auc": None, "all": [1.5, {"loss": None}]}


def test_no_file_of_a_run_or_bundle_is_for_its_owner_alone(trained_run, trained_bundle):
    for folder, one in ((trained_run, "run.json"), (trained_bundle, "onyxrank.json")):
        modes = {path.stat().st_mode for path in folder.rglob("*") if path.is_file()}
        assert modes == {(folder / one).stat().st_mode}
