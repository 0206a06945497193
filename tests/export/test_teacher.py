from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch
from short_training import LIMITS, Interrupt, facts, fit, same, weights

from onyxrank import Limits
from onyxrank_export.training.base import build_tokenizer, load_checkpoint
from onyxrank_export.training.base_folder import UnsuitableModel
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.list_trainer import ListTrainer
from onyxrank_export.training.losses import listwise, pointwise, soft_labels, soft_shares
from onyxrank_export.training.run import RunError, read_run
from onyxrank_export.training.shared_history import SharedHistoryForSequenceClassification
from onyxrank_export.training.teacher import Teacher


@pytest.fixture(scope="module")
def cross(few, tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher") / "run"
    fit(few, out)
    return out


@pytest.fixture(scope="module")
def student(few, cross, tmp_path_factory):
    """A shared-history run, taught by the cross run."""
    out = tmp_path_factory.mktemp("student") / "run"
    fit(few, out, arch="shared-history", teacher=str(cross), epochs=2)
    return out


def test_a_shared_history_run_is_loaded_as_what_it_is(student):
    model = load_checkpoint(student).model
    assert type(model) is SharedHistoryForSequenceClassification
    assert model.config.item_position == LIMITS.history_tokens + 2
    assert facts(student)["config"]["arch"] == "shared-history"
    assert facts(student)["training"]["validation"]["log_loss"] > 0


@pytest.mark.slow
def test_its_training_resumes_exactly(few, cross, student, tmp_path):
    settings = {"arch": "shared-history", "teacher": str(cross), "epochs": 2}
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "run", Interrupt(15), **settings)
    fit(few, tmp_path / "run", resume=True, **settings)
    assert same(weights(tmp_path / "run"), weights(student))


def test_a_teacher_must_read_what_the_student_reads(cross, student):
    tokenizer = load_checkpoint(cross).tokenizer
    with pytest.raises(RunError, match="it must be cross"):
        Teacher(student, tokenizer, LIMITS)
    with pytest.raises(RunError, match="train both with one"):
        Teacher(cross, tokenizer, Limits(history_tokens=4, item_tokens=4))
    with pytest.raises(UnsuitableModel, match="another vocabulary"):
        Teacher(cross, build_tokenizer(["other words"]), LIMITS)


def test_a_teachers_margins_are_those_of_its_model(cross):
    checkpoint = load_checkpoint(cross)
    teacher = Teacher(cross, checkpoint.tokenizer, LIMITS)
    pair = {"input_ids": [2, 5, 3, 6, 3], "token_type_ids": [0, 0, 0, 1, 1], "labels": 1.0}
    inputs = teacher.inputs([[pair, pair]])
    with torch.inference_mode():
        logits = checkpoint.model.eval()(**inputs).logits
    torch.testing.assert_close(teacher.margins(inputs), logits[:, 1] - logits[:, 0])


def test_a_bundle_is_no_teacher_and_no_run(student, tmp_path):
    shutil.copytree(student, tmp_path / "copy", ignore=shutil.ignore_patterns("run.json"))
    with pytest.raises(RunError, match="a shared-history model without"):
        read_run(tmp_path / "copy")


def test_the_loss_is_against_the_teacher_while_training_and_against_labels_otherwise():
    logits = torch.tensor([[0.0, 1.0], [0.0, -1.0], [0.0, 0.5]])
    labels, sizes, margins = torch.tensor([1.0, 0, 0]), torch.tensor([3]), torch.tensor([-1.0, 2.0, 0.0])
    trainer = object.__new__(ListTrainer)
    trainer._config = TrainingConfig(list_weight=2.0, teacher="run", teacher_weight=0.75)
    trainer._teacher = SimpleNamespace(margins=lambda inputs: inputs)

    class Model(torch.nn.Module):
        def forward(self, **_):
            return {"logits": logits}

    def loss(model):
        return trainer.compute_loss(model, {"labels": labels, "list_sizes": sizes, "teacher": margins})

    taught = pointwise(logits, soft_labels(labels, margins, 0.75))
    taught += 2.0 * listwise(logits, soft_shares(labels, sizes, margins, 0.75), sizes)
    torch.testing.assert_close(loss(Model().train()), taught)
    torch.testing.assert_close(loss(Model().eval()), pointwise(logits, labels))
    trainer._config = TrainingConfig(list_weight=0.0, teacher="run", teacher_weight=0.75)
    assert loss(Model().train()) < taught


def test_soft_targets_mix_labels_and_teacher():
    labels, sizes = torch.tensor([1.0, 0, 0, 1]), torch.tensor([2, 2])
    teacher = torch.tensor([0.0, 0.0, 2.0, -2.0])
    pairs, shares = soft_labels(labels, teacher, 0.5), soft_shares(labels, sizes, teacher, 0.5)
    torch.testing.assert_close(pairs, (labels + torch.sigmoid(teacher)) / 2)
    torch.testing.assert_close(shares[:2], torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(shares.reshape(2, 2).sum(dim=1), torch.ones(2))
    assert soft_shares(labels, sizes, teacher, 0.0).tolist() == labels.tolist()
