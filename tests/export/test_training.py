from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import EvalPrediction, TrainerCallback

from aisles import write_aisles
from onyxrank import InvalidInput, Limits
from onyxrank_export.data.pairs import CandidateList, Sampling
from onyxrank_export.data.values import DataError
from onyxrank_export.training.base import UnsuitableModel
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.curves import draw_curves
from onyxrank_export.training.dataset import LengthGroupedEpochs, collate
from onyxrank_export.training.loop import list_metrics, train
from onyxrank_export.training.losses import listwise, pointwise
from onyxrank_export.training.progress import ProgressCallback
from onyxrank_export.training.run import RunError, read_run

LIMITS = Limits(history_tokens=12, item_tokens=6)
STEPS = 12  # a little more than one epoch over `few`
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle"}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return write_aisles(tmp_path_factory.mktemp("few") / "data", shoppers=40)


def config(**changes):
    settings = {
        "base": "tiny",
        "limits": LIMITS,
        "sampling": Sampling(own_zeros=False),
        "epochs": 1,
        "batch_size": 32,
        "learning_rate": 5e-4,
        "precision": "fp32",
        "validation_lists": 10,
    }
    return TrainingConfig(**(settings | changes))


def fit(data, out, *callbacks, resume=False, **changes):
    return train(data, out, config(**changes), resume=resume, callbacks=[TrainerCallback(), *callbacks])


def weights(run):
    return load_file(run / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def facts(run):
    return json.loads((run / "run.json").read_text())


def evaluations(run):
    return [
        {name: value for name, value in entry.items() if not name.endswith(("_runtime", "_second"))}
        for entry in json.loads((run / "metrics.json").read_text())["evaluations"]
    ]


class Interrupt(TrainerCallback):
    """Interrupts after a step; or, given None, when all steps are done and the run is not yet written."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt

    def on_train_end(self, args, state, control, **_):
        if self.step is None:
            raise KeyboardInterrupt


class Weights(TrainerCallback):
    """Keeps what was evaluated at each step."""

    def __init__(self):
        self.at = {}

    def on_evaluate(self, args, state, control, model, **_):
        self.at[state.global_step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}


class Losses(TrainerCallback):
    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, logs, **_):
        self.seen += [logs["loss"]] if "loss" in logs else []


# What a training leaves


def test_a_run_is_a_model_folder_with_its_figures(trained_run):
    names = {path.name for path in trained_run.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "metrics.json", "curves.png", "run.json"} <= names
    assert "checkpoints" not in names
    assert (trained_run / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    found = evaluations(trained_run)
    assert len(found) >= 6
    assert {"eval_accuracy", "eval_auc", "eval_log_loss", "eval_ndcg_at_10", "eval_loss", "step"} <= found[0].keys()
    described = facts(trained_run)
    assert described["finished"]
    assert described["training"]["validation"]["ndcg_at_10"] == max(row["eval_ndcg_at_10"] for row in found)
    assert {"torch", "transformers", "tokenizers", "onyxrank", "python"} <= described["versions"].keys()


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


# Interruption


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    """An uninterrupted training of two epochs: its folder, and the weights at every evaluation."""
    out, seen = tmp_path_factory.mktemp("whole") / "run", Weights()
    fit(few, out, seen, epochs=2, evaluations=3)
    return out, seen.at


@pytest.mark.parametrize("share", [0.4, 0.5, 0.8], ids=["first-epoch", "half-way", "second-epoch"])
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


@pytest.mark.parametrize("step", [7, None], ids=["half-way", "after-the-last-step"])
def test_a_folder_that_was_moved_and_a_checkpoint_cut_short_do_not_matter(few, tmp_path, step):
    # So high a learning rate spoils the model at once: the best checkpoint is an early one.
    spoiling = {"learning_rate": 0.5, "evaluations": 4, "metric": "auc"}
    fit(few, tmp_path / "whole", **spoiling)
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "begun", Interrupt(step), **spoiling)
    (tmp_path / "begun").rename(tmp_path / "moved")
    cut = tmp_path / "moved" / "checkpoints" / "checkpoint-999"
    cut.mkdir()
    (cut / "model.safetensors").write_bytes(b"half")
    fit(few, tmp_path / "moved", resume=True, **spoiling)
    assert facts(tmp_path / "whole")["training"]["best_step"] < 7, "the best must lie before the interruption"
    assert same(weights(tmp_path / "moved"), weights(tmp_path / "whole"))


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
        ({"limits": Limits(history_tokens=600, item_tokens=6)}, "512 positions; the limits need 609"),
    ],
    ids=["base", "too-long"],
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
        ("batch_size", 0),
        ("accumulate", 0),
        ("evaluations", 0),
        ("validation_lists", 0),
        ("max_steps", 0),
        ("list_weight", -0.1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup", 1.5),
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
        list_metrics(lists)(EvalPrediction(predictions=np.array([[0, np.nan], [0, 1]]), label_ids=None))


# Steps, gradients, precision


@pytest.mark.parametrize(
    ("steps", "epochs"), [(3, 1), (STEPS + 3, 1), (4, 2)], ids=["few", "beyond-the-epochs", "two"]
)
def test_max_steps_is_where_it_stops(few, tmp_path, steps, epochs):
    run = fit(few, tmp_path / "run", max_steps=steps, epochs=epochs)
    assert run.facts["training"]["steps"] == steps


def test_accumulated_halves_are_a_whole_batch(few, tmp_path):
    logged = []
    for name, batch, accumulate in (("whole", 32, 1), ("halves", 16, 2)):
        losses = Losses()
        fit(few, tmp_path / name, losses, batch_size=batch, accumulate=accumulate, evaluations=1)
        logged.append(losses.seen)
    steps = [facts(tmp_path / name)["training"]["steps"] for name in ("whole", "halves")]
    assert steps[0] == steps[1]
    np.testing.assert_allclose(logged[0], logged[1], rtol=0.1)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_both_precisions_train_and_save_fp32(few, tmp_path, precision):
    run = fit(few, tmp_path / "run", max_steps=2, precision=precision)
    assert run.facts["training"]["precision"] == precision
    assert {tensor.dtype for tensor in weights(tmp_path / "run").values()} == {torch.float32}


def test_a_listener_is_told_every_step_and_evaluation(few, tmp_path):
    told = []

    class Listener:
        def step(self, done, total, loss):
            told.append((done, total, loss))

        def evaluated(self, step, metrics):
            told.append((step, metrics["eval_auc"]))

    train(few, tmp_path / "run", config(max_steps=4, evaluations=2), callbacks=[ProgressCallback(Listener())])
    assert [row[:2] for row in told if len(row) == 3] == [(step, 4) for step in range(1, 5)]
    assert [row[0] for row in told if len(row) == 2] == [2, 4]
    assert told[-2][2] > 0


# The parts


def batches(sampler, size):
    order = list(sampler)
    return order, [order[start : start + size] for start in range(0, len(order), size)]


def test_batches_hold_similar_lengths_and_every_list_once():
    lengths = np.random.default_rng(0).integers(5, 200, 2000).tolist()
    sampler = LengthGroupedEpochs(lengths, epochs=2, batch_size=10, seed=3)
    assert len(sampler) == 1000
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order, groups = batches(sampler, 10)
        start = 1000 * (epoch % 2)
        assert sorted(order) == list(range(start, start + 1000))
        padded = sum(len(group) * max(lengths[index] for index in group) for group in groups)
        assert padded < 1.15 * sum(lengths[index] for index in order)
        assert order == list(sampler), "the same when asked again"


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = LengthGroupedEpochs(list(range(1, 101)) * 2, epochs=2, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return [index % 100 for index in sampler]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1, 2)}) == 6


def test_rows_are_padded_to_the_longest_and_masked():
    def row(ids, types, label):
        return {"input_ids": ids, "token_type_ids": types, "labels": label}

    batch = collate([[row([2, 5, 3], [0, 0, 1], 1.0), row([2, 3], [0, 1], 0.0)], row([2], [0], 0.5)], pad_id=9)
    assert batch["input_ids"].tolist() == [[2, 5, 3], [2, 3, 9], [2, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert batch["labels"].tolist() == [1.0, 0.0, 0.5]
    assert batch["list_sizes"].tolist() == [2, 1]


def test_the_loss_per_pair_is_cross_entropy():
    logits, labels = torch.randn(6, 2), torch.tensor([0.0, 1, 1, 0, 0, 1])
    torch.testing.assert_close(pointwise(logits, labels), functional.cross_entropy(logits, labels.long()))
    margins = logits[:, 1] - logits[:, 0]
    soft = torch.rand(6)
    torch.testing.assert_close(pointwise(logits, soft), functional.binary_cross_entropy_with_logits(margins, soft))


def test_the_loss_per_list_counts_lists_that_say_something():
    logits = torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, 0.0], [3.0, 3.0], [0.0, 9.0], [0.0, 4.0]])
    labels = torch.tensor([1.0, 0, 0, 0, 0, 1])
    first = -torch.log_softmax(torch.tensor([2.0, 1, 0]), 0)[0]
    torch.testing.assert_close(listwise(logits, labels, torch.tensor([3, 2, 1])), first)
    graded = torch.tensor([1.0, 0.5, 0, 0, 0, 0])
    logs = torch.log_softmax(torch.tensor([2.0, 1, 0]), 0)
    torch.testing.assert_close(listwise(logits, graded, torch.tensor([3, 2, 1])), -(2 * logs[0] + logs[1]) / 3)
    nothing = listwise(logits.requires_grad_(), torch.zeros(6), torch.tensor([3, 2, 1]))
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("metric", ["ndcg_at_10", "mrr", "loss", "log_loss"])
def test_curves_of_any_metric_are_drawn(tmp_path, metric):
    history = [{"step": 1, "loss": 0.7}]
    history += [{"step": step, "eval_loss": 0.6, f"eval_{metric}": 0.1 * step, "eval_auc": 0.5} for step in (1, 2)]
    draw_curves(history, tmp_path / "curves.png", metric=metric)
    assert (tmp_path / "curves.png").stat().st_size > 5_000


# Reading a run


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
