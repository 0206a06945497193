"""Training of the reference recommender, by transformers' Trainer.

1. Read and split the data; build the labelled pairs and the validation lists.
2. Load the base with a fresh 2-class head; tokenize with the engine's encoder, so that serving reads the same ids.
3. If asked for, train its encoder contrastively first (`contrastive`).
4. Train with cross-entropy and AdamW; measure on the validation lists and save a checkpoint at every evaluation.
5. Keep the checkpoint with the best named metric, write the run folder, remove the checkpoints.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from onyxrank.architectures.readout import Readout, margins_of
from onyxrank.architectures.registry import SHARED_HISTORY
from onyxrank.machine.cpus import describe
from onyxrank_export.data.pairs import CandidateList, lists_of_validation, training_lists
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.data.values import Interactions
from onyxrank_export.evaluation.metrics import probability_metrics, ranking_metrics
from onyxrank_export.quiet import quiet
from onyxrank_export.training import processes
from onyxrank_export.training.arguments import recommender_arguments
from onyxrank_export.training.base import Checkpoint, UnsuitableModel, resolve_base, text_encoder
from onyxrank_export.training.begun import check_begun, check_free, claim
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import contrastive_pairs
from onyxrank_export.training.curves import draw_curves
from onyxrank_export.training.dataset import LengthGroupedEpochs, ListDataset, collate, pieces, split_like
from onyxrank_export.training.encoder import LOG_PREFIX, train_encoder
from onyxrank_export.training.losses import listwise, pointwise, soft_labels, soft_shares
from onyxrank_export.training.memory import kept_memory
from onyxrank_export.training.optimizer import raise_head_rate
from onyxrank_export.training.progress import drop_default_output
from onyxrank_export.training.run import (
    CHECKPOINTS,
    CURVES_FILE,
    METRICS_FILE,
    RUN_FILE,
    RUN_SCHEMA,
    Run,
    RunError,
    read_run,
    share_mode,
    write_json,
)
from onyxrank_export.training.shared_history import collate_lists, first_item_position
from onyxrank_export.training.similarity import keep_margins, kept_margins, lessons
from onyxrank_export.training.teacher import Teacher

EVALUATED_TOGETHER = 10
"""Most candidates of one list that are evaluated in one element of a batch."""
_VERSIONED = ("torch", "transformers", "accelerate", "tokenizers", "onyxrank")


def train(
    data_path: str | Path,
    out: str | Path,
    config: TrainingConfig,
    *,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Run:
    """Train a recommender and write its run folder.

    Args:
        data_path: behaviour or search data in one of the input formats.
        out: the run folder to write; must not hold a run already, unless resuming.
        config: everything that decides the result.
        resume: go on from the last checkpoint in `out`.
        callbacks: the caller's own Trainer callbacks, such as a progress bar.

    Raises:
        DataError: if the data has faults; all of them at once.
        RunError: if `out` is taken, there is nothing to resume, or the training diverges.
        UnsuitableModel: if the base is not a BERT-family model, or too short for the limits.

    """
    out = Path(out).resolve()
    data = read_data(data_path)
    description = {
        "path": str(Path(data_path).resolve()),
        "fingerprint": data.fingerprint,
        "kind": "behaviour" if isinstance(data, Interactions) else "search",
        "items": len(data.items),
    }
    checkpoint = check_begun(out, config, description) if resume else None
    if not resume and processes.is_first():
        check_free(out)
    split = split_data(data)
    held_out = lists_of_validation(split, most=config.validation_lists)
    set_seed(config.seed)
    texts = [text for item in data.items for text in (item.title, item.description)]
    item_position = first_item_position(config.limits) if config.arch == SHARED_HISTORY else None
    base = resolve_base(config.base, texts, seed=config.seed, item_position=item_position, dropout=config.dropout)
    _check_length(base, config)
    encoder = text_encoder(base.tokenizer, config.limits)
    teacher = None if config.teacher is None else Teacher(config.teacher, base.tokenizer, config.limits)
    lists = [row for epoch in range(config.epochs) for row in training_lists(split, config.sampling, epoch)]
    per_epoch = len(lists) // config.epochs
    pairs = sum(len(row.items) for row in lists[:per_epoch])
    together = contrastive_pairs(split, config) if checkpoint is None else []
    log: list[dict[str, float]] = []
    of_encoder = config.contrastive_weight > 0
    if not resume and processes.is_first():
        claim(out, config, description)
    started = time.monotonic()
    with quiet(), kept_memory():
        if together:
            asked = lists if of_encoder else []
            similarity, log = train_encoder(
                base, split, together, held_out, asked, config, out / CHECKPOINTS, callbacks
            )
            if of_encoder and processes.is_first():
                keep_margins(lessons(similarity, lists), out / CHECKPOINTS)
            processes.wait_for_all()
        taught = kept_margins(out / CHECKPOINTS) if of_encoder else None
        lists_per_batch = max(1, round(config.batch_size * per_epoch / pairs))
        trainer = _Trainer(
            config=config,
            teacher=teacher,
            model=base.model,
            args=recommender_arguments(out / CHECKPOINTS, config, per_epoch, lists_per_batch, EVALUATED_TOGETHER),
            train_dataset=ListDataset(lists, data.items, encoder, taught),
            eval_dataset=ListDataset(pieces(held_out, EVALUATED_TOGETHER), data.items, encoder),
            data_collator=_collator(base, config, teacher),
            compute_metrics=list_metrics(held_out),
            callbacks=[_Before(log), _EvaluateAtEnd(), _BestMoved(), *callbacks],
        )
        if callbacks:
            drop_default_output(trainer)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.monotonic() - started
    trainer.save_model(str(out))
    processes.wait_for_all()  # with the best checkpoint, which is removed below
    if processes.is_first():
        _write(out, trainer, base, config, description, seconds=seconds, pairs=pairs)
    processes.wait_for_all()
    return read_run(out)


def list_metrics(lists: Sequence[CandidateList]) -> Callable[[EvalPrediction], dict[str, float]]:
    """The Trainer's metric function over the `pieces` of all lists, in order.

    Its predictions are float [pieces, longest, 2], filled up with anything after a piece's last candidate.
    """
    labels = [row.labels for row in lists]
    sizes = [len(piece.items) for piece in pieces(lists, EVALUATED_TOGETHER)]

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        found = np.asarray(prediction.predictions, np.float32)
        logits = np.concatenate([row[:size] for row, size in zip(found, sizes, strict=True)])
        if not np.isfinite(logits).all():
            raise RunError("the training diverged: the model answers NaN or infinity; lower the learning rate")
        scores = Readout().probabilities(margins_of(logits, "softmax", len(logits)))
        return ranking_metrics(labels, split_like(scores, lists)) | probability_metrics(
            np.concatenate(labels), scores
        )

    return compute


class _Trainer(Trainer):  # type: ignore[misc]
    """The library's Trainer over lists: batches of similar length that resume exactly, our loss, the head's rate."""

    def __init__(self, *, config: TrainingConfig, teacher: Teacher | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._config, self._teacher = config, teacher
        # The loss is a mean over the batch: the Trainer itself divides it by the accumulated batches.
        self.model_accepts_loss_kwargs = False

    def create_optimizer(self) -> torch.optim.Optimizer:
        """The library's optimizer, in which the head has a rate of its own."""
        if self.optimizer is None:
            raise_head_rate(super().create_optimizer(), self.model, self._config.head_rate)
        return self.optimizer

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Cross-entropy per pair; while training, plus the weighted one over lists; against a teacher too."""
        config, fields = self._config, dict[str, Any](inputs)
        labels, sizes = fields.pop("labels"), fields.pop("list_sizes")
        of_teacher, of_encoder = fields.pop("teacher", None), fields.pop("taught", None)
        logits = model(**fields)["logits"].float()
        shares = labels
        if model.training and self._teacher is not None:
            margins = self._teacher.margins(of_teacher)
            shares = soft_shares(labels, sizes, margins, config.teacher_weight)
            labels = soft_labels(labels, margins, config.teacher_weight)
        elif of_encoder is not None:
            # Of the order only: similarities are no probabilities of a purchase.
            shares = soft_shares(labels, sizes, of_encoder, config.contrastive_weight)
        loss = pointwise(logits, labels)
        if model.training and config.list_weight > 0:
            loss = loss + config.list_weight * listwise(logits, shares, sizes)
        if not return_outputs:
            return loss
        # One element per list, as the evaluation loop counts them.
        return loss, {"logits": pad_sequence(logits.split(sizes.tolist()), batch_first=True)}

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedEpochs:
        return LengthGroupedEpochs(
            self.train_dataset.lengths,
            int(self.args.num_train_epochs),
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            self.args.seed,
        )


class _Before(TrainerCallback):  # type: ignore[misc]
    """Puts what was logged before the training at the head of its log, which checkpoints keep."""

    def __init__(self, log: list[dict[str, float]]) -> None:
        self._log = log

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        state.log_history[:0] = self._log


class _EvaluateAtEnd(TrainerCallback):  # type: ignore[misc]
    """Measure and save after the last step too, wherever it falls: with a falling learning rate it is often best."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True


class _BestMoved(TrainerCallback):  # type: ignore[misc]
    """Finds the best checkpoint again where the run folder was moved before it was resumed."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.best_model_checkpoint is not None:
            state.best_model_checkpoint = str(Path(args.output_dir) / Path(state.best_model_checkpoint).name)


def _collator(base: Checkpoint, config: TrainingConfig, teacher: Teacher | None) -> Callable[[Any], dict[str, Any]]:
    pad_id = base.tokenizer.pad_token_id or 0
    if config.arch == SHARED_HISTORY:
        own = partial(collate_lists, pad_id=pad_id, item_position=base.model.config.item_position)
    else:
        own = partial(collate, pad_id=pad_id)
    if teacher is None:
        return own
    return lambda batch: {**own(batch), "teacher": teacher.inputs(batch)}


def _check_length(base: Checkpoint, config: TrainingConfig) -> None:
    positions = getattr(base.model.config, "max_position_embeddings", None)
    if positions is not None and config.limits.sequence_tokens > positions:
        raise UnsuitableModel(
            f"base '{config.base}' has {positions} positions; the limits need {config.limits.sequence_tokens}: "
            "lower --history-tokens or --item-tokens"
        )


def device_name() -> str:
    """What a training runs on here."""
    return str(torch.cuda.get_device_name() if torch.cuda.is_available() else describe()["cpu_model"])


def _write(
    out: Path,
    trainer: Trainer,
    base: Checkpoint,
    config: TrainingConfig,
    data: dict[str, Any],
    *,
    seconds: float,
    pairs: int,
) -> None:
    state = trainer.state
    (out / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json says the same in the open
    base.tokenizer.save_pretrained(out)
    history = [entry for entry in state.log_history if "loss" in entry or "eval_loss" in entry]
    evaluations = [entry for entry in history if "eval_loss" in entry]
    best = next((entry for entry in evaluations if entry["step"] == state.best_global_step), evaluations[-1])
    contrastive = [entry for entry in state.log_history if f"{LOG_PREFIX}step" in entry]
    write_json(
        out / METRICS_FILE,
        {"metric": config.metric, "contrastive": contrastive, "evaluations": evaluations, "log": history},
    )
    draw_curves(history, out / CURVES_FILE, metric=config.metric)
    write_json(
        out / RUN_FILE,
        {
            "schema_version": RUN_SCHEMA,
            "finished": True,
            "config": config.to_json(),
            "data": data,
            "training": {
                "pairs": pairs,
                "steps": state.global_step,
                "best_step": state.best_global_step,
                "seconds": round(seconds, 1),
                "precision": "bf16" if trainer.args.bf16 else "fp32",
                "device": device_name(),
                "validation": {
                    key.removeprefix("eval_"): value
                    for key, value in best.items()
                    if key.startswith("eval_") and not key.endswith(("_second", "_runtime"))
                },
            },
            "versions": {name: version(name) for name in _VERSIONED} | {"python": platform.python_version()},
        },
    )
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    share_mode(out / RUN_FILE)
