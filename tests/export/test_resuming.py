from __future__ import annotations

from itertools import count

import pytest
from short_training import Interrupt, Stages, Weights, evaluations, facts, fit, metrics, same, weights

from onyxrank_export.data.pairs import Sampling
from onyxrank_export.training import loop
from onyxrank_export.training.run import RunError, read_run


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    """An uninterrupted training of two epochs: its folder, and the weights at every evaluation."""
    out, seen = tmp_path_factory.mktemp("whole") / "run", Weights()
    fit(few, out, seen, epochs=2, evaluations=3)
    return out, seen.at


@pytest.mark.parametrize(
    "share",
    [pytest.param(0.4, id="first-epoch"), *(pytest.param(s, marks=pytest.mark.slow, id=str(s)) for s in (0.5, 0.8))],
)
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(few, whole, tmp_path, share):
    out, expected = whole
    last, seen = max(expected), Weights()
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "run", Interrupt(int(share * last)), epochs=2, evaluations=3)
    with pytest.raises(RunError, match="did not finish; go on with: onyxrank train"):
        read_run(tmp_path / "run")
    with pytest.raises(RunError, match="or go on with --resume"):
        fit(few, tmp_path / "run", epochs=2, evaluations=3)
    fit(few, tmp_path / "run", seen, resume=True, epochs=2, evaluations=3)
    assert same(seen.at[last], expected[last])
    assert same(weights(tmp_path / "run"), weights(out))
    assert evaluations(tmp_path / "run") == evaluations(out)


@pytest.mark.slow
def test_resuming_does_not_train_the_encoder_again(few, tmp_path):
    settings = {"evaluations": 3, "contrastive_steps": 3, "contrastive_batch": 8}
    fit(few, tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "run", Interrupt(7), **settings)
    seen = Stages()
    fit(few, tmp_path / "run", seen, resume=True, **settings)
    assert seen.stages == ["training"]
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    logs = [metrics(tmp_path / name)["contrastive"] for name in ("run", "whole")]
    assert logs[0] == logs[1]
    assert [entry["contrastive_step"] for entry in logs[0]] == [1, 2, 3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, None], ids=["half-way", "after-the-last-step"])
def test_a_folder_that_was_moved_and_a_checkpoint_cut_short_do_not_matter(few, tmp_path, monkeypatch, step):
    monkeypatch.setattr(loop, "list_metrics", falling_accuracy)
    settings = {"evaluations": 4, "metric": "accuracy"}
    fit(few, tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "begun", Interrupt(step), **settings)
    (tmp_path / "begun").rename(tmp_path / "moved")
    cut = tmp_path / "moved" / "checkpoints" / "checkpoint-999"
    cut.mkdir()
    (cut / "model.safetensors").write_bytes(b"half")
    fit(few, tmp_path / "moved", resume=True, **settings)
    assert facts(tmp_path / "whole")["training"]["best_step"] < 7, "the best must lie before the interruption"
    assert same(weights(tmp_path / "moved"), weights(tmp_path / "whole"))


def falling_accuracy(_):
    """Metrics by which every evaluation of a training is worse than the one before: the first checkpoint is best."""
    calls = count()
    return lambda _: {"accuracy": 1 / (1 + next(calls))}


def test_a_training_that_ended_before_its_first_checkpoint_starts_over(few, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "run", Interrupt(1), max_steps=3)
    with pytest.raises(RunError, match="no checkpoint to resume from; start without --resume"):
        fit(few, tmp_path / "run", resume=True, max_steps=3)
    fit(few, tmp_path / "run", max_steps=3)
    assert facts(tmp_path / "run")["finished"]


def test_what_differs_from_the_beginning_is_named(few, aisle_data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "run", Interrupt(3), max_steps=4, evaluations=2)
    with pytest.raises(RunError, match=r"cannot resume .*: learning_rate, seed differ"):
        fit(few, tmp_path / "run", resume=True, max_steps=4, evaluations=2, learning_rate=1e-3, seed=1)
    with pytest.raises(RunError, match="sampling, data differ"):
        fit(aisle_data, tmp_path / "run", resume=True, max_steps=4, evaluations=2, sampling=Sampling())


def test_a_finished_or_taken_folder_is_refused(few, trained_run, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in trained_run.iterdir()}
    with pytest.raises(RunError, match=r"exists and is not empty; choose another folder$"):
        fit(few, trained_run)
    with pytest.raises(RunError, match="is finished: there is nothing to resume"):
        fit(few, trained_run, resume=True)
    assert {path: path.stat().st_mtime_ns for path in trained_run.iterdir()} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        fit(few, tmp_path / "file")
    with pytest.raises(RunError, match="not empty"):
        fit(few, tmp_path)
    with pytest.raises(RunError, match="holds no training to resume"):
        fit(few, tmp_path, resume=True)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        fit(few, tmp_path, resume=True)
