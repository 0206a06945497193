"""A training by two processes, connected as those of two GPUs are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from short_training import facts, metrics

from onyxrank_export.training import processes

OPTIONS = (
    *("--base", "tiny", "--arch", "shared-history", "--history-tokens", "12", "--item-tokens", "6"),
    *("--max-steps", "4", "--evaluations", "1", "--validation-lists", "6", "--precision", "fp32"),
    *("--contrastive-steps", "2", "--contrastive-batch", "8", "--contrastive-weight", "0.5"),
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="torchrun's connection is tested on Linux")
def test_two_processes_train_one_run(aisle_data, tmp_path):
    run = tmp_path / "run"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"),
            *("onyxrank", "train", "--data", aisle_data, "--out", run, *OPTIONS),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Trained:") == 1
    assert facts(run)["finished"]
    assert facts(run)["training"]["steps"] == 4
    assert metrics(run)["contrastive"]
    assert not (run / "checkpoints").exists()


def test_who_is_first(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (processes.is_first(), processes.count()) == (True, 1)
    processes.wait_for_all()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (processes.is_first(), processes.count()) == (False, 2)
