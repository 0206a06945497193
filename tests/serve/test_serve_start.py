"""What the server needs of the machine before it starts: a folder to write only for several workers."""

from __future__ import annotations

import tempfile

import pytest
from typer.testing import CliRunner

from onyxrank.cli.app import app
from onyxrank.serve import run as running
from onyxrank.serve.settings import ServeSettings


@pytest.fixture
def read_only(monkeypatch):
    """No temporary folder can be written."""

    def none(*_, **__):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", none)


@pytest.fixture
def served(monkeypatch):
    """Settings that would be served."""
    told = []
    monkeypatch.setattr(running, "_serve", told.append)
    monkeypatch.setattr(running, "open_bundle", lambda bundle: None)
    return told


def test_one_worker_writes_nowhere(read_only, served):
    running.run(ServeSettings(bundle="shop"))
    assert [settings.control_file for settings in served] == [None]


def test_several_workers_say_that_they_need_a_folder(read_only, served):
    with pytest.raises(running.StartFailed, match="set TMPDIR to one, or serve with --workers 1"):
        running.run(ServeSettings(bundle="shop", workers=2))
    assert served == []


def test_a_folder_of_metrics_that_was_inherited_is_not_taken(monkeypatch, tmp_path):
    seen = {}
    for variable in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    monkeypatch.setattr(running, "run", lambda settings: seen.update(running.os.environ))
    outcome = CliRunner().invoke(app, ["serve", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert seen
    assert not {"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"} & seen.keys()
