from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from short_training import STEPS, Losses, Weights, config, evaluations, facts, fit, metrics, same, weights
from transformers import EvalPrediction

from onyxrank import InvalidInput, Limits
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.values import DataError
from onyxrank_export.training.base_folder import UnsuitableModel
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.curves import draw_curves
from onyxrank_export.training.list_metrics import list_metrics
from onyxrank_export.training.loop import train
from onyxrank_export.training.progress import ProgressCallback
from onyxrank_export.training.run import RunError

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle"}


# What a training leaves


def test_a_run_is_a_model_folder_with_its_figures(trained_run):
    names = {path.name for path in trained_run.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "metrics.json", "curves.png", "run.json"} <= names
    assert "checkpoints" not in names
    found = evaluations(trained_run)
    assert len(found) >= 4
    assert {"eval_accuracy", "eval_auc", "eval_log_loss", "eval_ndcg_at_10", "eval_loss", "step"} <= found[0].keys()
    described = facts(trained_run)
    assert described["finished"]
    assert described["training"]["validation"]["ndcg_at_10"] == max(row["eval_ndcg_at_10"] for row in found)
    assert {"torch", "transformers", "tokenizers", "onyxrank", "python"} <= described["versions"].keys()


def test_the_curves_are_drawn_of_the_run_s_own_figures(trained_run, tmp_path):
    kept = metrics(trained_run)
    draw_curves(kept["log"], tmp_path / "again.png", metric=kept["metric"])
    draw_curves(kept["log"][:-1], tmp_path / "other.png", metric=kept["metric"])
    drawn, again, other = (pixels(path) for path in (trained_run / "curves.png", *sorted(tmp_path.iterdir())))
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, other)


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_run_holds_no_pickle(trained_run):
    files = [path for path in trained_run.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in PICKLES]
    assert not [path for path in files if path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x04", b"PK")]


def test_a_run_holds_no_text_of_the_data(trained_run, aisle_data):
    import polars as pl

    written = "".join((trained_run / name).read_text() for name in ("run.json", "metrics.json", "config.json"))
    items = pl.read_parquet(aisle_data / "items.parquet")
    assert not [title for title in items["item_title"] if title in written]
    assert not [
        user for user in pl.read_parquet(aisle_data / "interactions.parquet")["user_id"] if f'"{user}"' in written
    ]


def test_the_trained_model_ranks_better_than_chance(trained_run):
    assert facts(trained_run)["training"]["validation"]["auc"] > 0.85


@pytest.mark.parametrize(("metric", "best"), [("auc", max), ("log_loss", min)])
def test_the_best_checkpoint_is_what_is_saved(few, tmp_path, metric, best):
    seen = Weights()
    fit(few, tmp_path / "run", seen, metric=metric, evaluations=6, learning_rate=5e-3)
    found = {row["step"]: row[f"eval_{metric}"] for row in evaluations(tmp_path / "run")}
    step = facts(tmp_path / "run")["training"]["best_step"]
    assert len(found) >= 6
    assert found[step] == best(found.values())
    assert same(weights(tmp_path / "run"), seen.at[step])


def test_the_last_step_is_evaluated_wherever_it_falls(few, tmp_path):
    fit(few, tmp_path / "run", max_steps=5, evaluations=2)
    assert [row["step"] for row in evaluations(tmp_path / "run")] == [2, 4, 5]


def test_search_data_trains_too(search_data, tmp_path):
    run = fit(search_data, tmp_path / "run", max_steps=3)
    assert run.facts["data"]["kind"] == "search"
    assert evaluations(tmp_path / "run")[-1]["step"] == 3


# What cannot be trained


def test_faults_of_the_data_leave_no_folder(tmp_path, few):
    shutil.copytree(few, tmp_path / "data")
    (tmp_path / "data" / "items.parquet").unlink()
    with pytest.raises(DataError, match="items"):
        fit(tmp_path / "data", tmp_path / "run")
    with pytest.raises(DataError, match="no such file or folder"):
        fit(tmp_path / "absent", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "/no/such/folder"}, "cannot load a sequence classifier from '/no/such/folder'"),
        ({"base": "tinny"}, "there is no base 'tinny'; did you mean 'tiny'"),
        ({"limits": Limits(history_tokens=600, item_tokens=6)}, "512 positions; the limits need 609"),
    ],
    ids=["base", "misspelt", "too-long"],
)
def test_a_start_that_fails_leaves_no_folder(few, tmp_path, changes, message):
    with pytest.raises(UnsuitableModel, match=message):
        fit(few, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("arch", "colbert"),
        ("metric", "ndcg"),
        ("precision", "fp16"),
        ("epochs", 0),
        ("contrastive_steps", -1),
        ("contrastive_batch", 1),
        ("contrastive_rate", 0.0),
        ("contrastive_weight", 1.1),
        ("contrastive_weight", 0.5),
        ("batch_size", 0),
        ("accumulate", 0),
        ("evaluations", 0),
        ("validation_lists", 0),
        ("max_steps", 0),
        ("list_weight", -0.1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("head_rate", 0.0),
        ("warmup", 1.5),
        ("dropout", -0.1),
        ("teacher_weight", -0.1),
        ("seed", -1),
    ],
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(InvalidInput, match=field) as caught:
        TrainingConfig(**{field: value})
    assert caught.value.field == field


def test_a_training_that_diverges_says_so():
    lists = [CandidateList((), np.arange(2), np.array([1, 0], np.float32))]
    with pytest.raises(RunError, match="diverged"):
        list_metrics(lists)(EvalPrediction(predictions=np.array([[[0, np.nan], [0, 1]]]), label_ids=None))


# Steps, gradients, precision


@pytest.mark.parametrize(
    ("steps", "epochs"), [(3, 1), (STEPS + 3, 1), (4, 2)], ids=["few", "beyond-the-epochs", "two"]
)
def test_max_steps_is_where_it_stops(few, tmp_path, steps, epochs):
    run = fit(few, tmp_path / "run", max_steps=steps, epochs=epochs)
    assert run.facts["training"]["steps"] == steps


@pytest.mark.parametrize("arch", ["cross", "shared-history"])
def test_accumulated_halves_are_a_whole_batch(few, tmp_path, arch):
    """Without dropout, whose masks differ, losses and weights are the same but for the order of sums."""
    logged = []
    for name, batch, accumulate in (("whole", 32, 1), ("halves", 16, 2)):
        losses = Losses()
        settings = {"arch": arch, "batch_size": batch, "accumulate": accumulate, "dropout": 0.0, "precision": "fp32"}
        fit(few, tmp_path / name, losses, max_steps=3, **settings)
        logged.append(losses.seen)
    steps = [facts(tmp_path / name)["training"]["steps"] for name in ("whole", "halves")]
    assert steps[0] == steps[1]
    np.testing.assert_allclose(logged[0], logged[1], rtol=1e-4)
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    # Where a gradient is almost 0, Adam takes a whole step by the sign of what rounding left of it.
    close = [torch.isclose(halves[name], tensor, rtol=1e-3, atol=1e-4).flatten() for name, tensor in whole.items()]
    assert torch.cat(close).float().mean() > 0.99


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_both_precisions_train_and_save_fp32(few, tmp_path, precision):
    run = fit(few, tmp_path / "run", max_steps=2, precision=precision)
    assert run.facts["training"]["precision"] == precision
    assert {tensor.dtype for tensor in weights(tmp_path / "run").values()} == {torch.float32}


def test_a_listener_is_told_every_step_and_evaluation(few, tmp_path):
    told = []

    class Listener:
        def begun(self, total, stage):
            told.append((stage, total))

        def step(self, done, total, loss):
            told.append((done, total, loss))

        def evaluated(self, step, metrics):
            told.append((step, metrics["eval_auc"]))

    settings = config(max_steps=4, evaluations=2, contrastive_steps=1, contrastive_batch=4)
    train(few, tmp_path / "run", settings, callbacks=[ProgressCallback(Listener())])
    assert told[:2] == [("contrastive training", 1), (1, 1, None)]
    assert told[2][0] == 1, "the encoder is measured once"
    assert told[3] == ("training", 4)
    del told[:4]
    assert [row[:2] for row in told if len(row) == 3] == [(step, 4) for step in range(1, 5)]
    assert [row[0] for row in told if len(row) == 2] == [2, 4]
    assert told[-2][2] > 0
