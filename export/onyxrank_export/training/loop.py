"""The training of a recommender, from data to a run folder, by transformers' Trainer.

1. Read the data and make sure that the run folder may be written (`begun`).
2. Split the data and load the model to start from (`preparation`).
3. If asked for, train the model's encoder contrastively (`encoder`) and keep its margins over all lists.
4. Train with cross-entropy and AdamW; measure on the validation lists and save a checkpoint at every evaluation
   (`list_trainer`, `list_metrics`).
5. Keep the checkpoint with the best named metric, write the run folder, remove the checkpoints (`run_writing`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import TrainerCallback

from onyxrank.architectures.registry import LATE_INTERACTION
from onyxrank.request.readability import ALLOWED_UNKNOWN
from onyxrank_export.data.reading import read_data
from onyxrank_export.quiet import quiet
from onyxrank_export.training import processes
from onyxrank_export.training.arguments import recommender_arguments
from onyxrank_export.training.begun import check_begun, check_free, claim
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import Pair, contrastive_pairs
from onyxrank_export.training.dataset import ListDataset, pieces
from onyxrank_export.training.encoder import train_encoder
from onyxrank_export.training.late.training import train_late
from onyxrank_export.training.list_metrics import EVALUATED_TOGETHER, list_metrics
from onyxrank_export.training.list_trainer import ListTrainer, collator
from onyxrank_export.training.memory import kept_memory
from onyxrank_export.training.preparation import Prepared, describe_data, prepare
from onyxrank_export.training.progress import drop_default_output
from onyxrank_export.training.run import CHECKPOINTS, Run, read_run
from onyxrank_export.training.run_writing import write_run
from onyxrank_export.training.similarity import keep_margins, kept_margins, margins_to_learn
from onyxrank_export.training.trainer_callbacks import BestCheckpointMoved, EvaluateAtEnd, LogBefore


def train(
    data_path: str | Path,
    out: str | Path,
    config: TrainingConfig,
    *,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    say: Callable[[str], None] = lambda text: None,
    allow_unknown: float = ALLOWED_UNKNOWN,
) -> Run:
    """Train a recommender and write its run folder.

    Args:
        data_path: behaviour or search data in one of the input formats.
        out: the run folder to write; must not hold a run already, unless resuming.
        config: everything that decides the result.
        resume: go on from the last checkpoint in `out`.
        callbacks: the caller's own Trainer callbacks, such as a progress bar.
        say: told each step that is no Trainer's, as it begins.
        allow_unknown: most of each share of `Readability` that the base's vocabulary may leave unread.

    Raises:
        DataError: if the data has faults; all of them at once.
        RunError: if `out` is taken, there is nothing to resume, or the training diverges.
        UnreadableCatalogue: if the vocabulary does not know more than `allow_unknown` of the texts.
        UnsuitableModel: if the base is not a BERT-family model, or too short for the limits.

    """
    out = Path(out).resolve()
    data = read_data(data_path)
    description = describe_data(data_path, data)
    checkpoint = check_begun(out, config, description) if resume else None
    writes = processes.is_first()
    if writes and not resume:
        check_free(out)
    if config.arch == LATE_INTERACTION:
        train_late(data, out, config, description, callbacks, say, allow_unknown=allow_unknown)
        return read_run(out)
    prepared = prepare(data, config, allow_unknown)
    # A checkpoint holds the encoder as its own training left it: that stage is not repeated on resuming.
    pairs = contrastive_pairs(prepared.split, config) if checkpoint is None else []
    if writes and not resume:
        claim(out, config, description)
    started = time.monotonic()
    with quiet(), kept_memory():
        log = _train_encoder_first(prepared, pairs, config, out / CHECKPOINTS, callbacks) if pairs else []
        margins = kept_margins(out / CHECKPOINTS) if config.contrastive_weight > 0 else None
        trainer = _list_trainer(prepared, margins, config, out / CHECKPOINTS, [LogBefore(log), *callbacks])
        if callbacks:
            drop_default_output(trainer)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.monotonic() - started
    trainer.save_model(str(out))
    processes.wait_for_all()  # until each has loaded the best checkpoint, which the first process removes below
    if writes:
        told = description | {"readability": prepared.readability.to_json()}
        write_run(out, trainer, prepared, config, told, seconds=seconds)
    processes.wait_for_all()
    return read_run(out)


def _train_encoder_first(
    prepared: Prepared,
    pairs: Sequence[Pair],
    config: TrainingConfig,
    folder: Path,
    callbacks: Sequence[TrainerCallback],
) -> list[dict[str, float]]:
    """Train the encoder in place, keep its margins in `folder` if they are to be learnt, and give its log."""
    learns_margins = config.contrastive_weight > 0
    similarity, log = train_encoder(
        prepared.base,
        prepared.split,
        pairs,
        prepared.validation,
        prepared.lists if learns_margins else [],
        config,
        folder,
        callbacks,
    )
    if learns_margins and processes.is_first():
        keep_margins(margins_to_learn(similarity, prepared.lists), folder)
    processes.wait_for_all()
    return log


def _list_trainer(
    prepared: Prepared,
    margins: NDArray[np.float32] | None,
    config: TrainingConfig,
    folder: Path,
    callbacks: Sequence[TrainerCallback],
) -> ListTrainer:
    """The Trainer of the whole model; its callbacks run in the order given, after those that every training has."""
    lists_per_batch = max(1, round(config.batch_size * prepared.lists_per_epoch / prepared.pairs_per_epoch))
    items, encoder = prepared.split.data.items, prepared.encoder
    return ListTrainer(
        config=config,
        teacher=prepared.teacher,
        model=prepared.base.model,
        args=recommender_arguments(folder, config, prepared.lists_per_epoch, lists_per_batch, EVALUATED_TOGETHER),
        train_dataset=ListDataset(prepared.lists, items, encoder, margins),
        eval_dataset=ListDataset(pieces(prepared.validation, EVALUATED_TOGETHER), items, encoder),
        data_collator=collator(prepared.base, config, prepared.teacher),
        compute_metrics=list_metrics(prepared.validation),
        callbacks=[EvaluateAtEnd(), BestCheckpointMoved(), *callbacks],
    )
