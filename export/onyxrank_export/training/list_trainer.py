"""transformers' Trainer over candidate lists: how a batch is put together, and what is minimized over it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer

from onyxrank.architectures.registry import SHARED_HISTORY
from onyxrank_export.training.base import Checkpoint
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.dataset import LengthGroupedEpochs, collate
from onyxrank_export.training.losses import listwise, pointwise, soft_labels, soft_shares
from onyxrank_export.training.optimizer import raise_head_rate
from onyxrank_export.training.shared_history import collate_lists
from onyxrank_export.training.teacher import Teacher


class ListTrainer(Trainer):  # type: ignore[misc]
    """The library's Trainer with batches of similar length that resume exactly, our loss, and the head's own rate.

    Args:
        config: of the training.
        teacher: the recommender whose margins are learnt too; None for none.
        arguments: those of the library's Trainer.

    """

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
        """The loss of a batch, a scalar; with `return_outputs` also its logits.

        1. Cross-entropy of every pair against its label, and, while training, `list_weight` times that of every list
           against the shares of its items.
        2. While training, a teacher's margins are mixed into both targets.
        3. The encoder's margins are mixed into the shares alone: similarities tell an order, but they are no
           probabilities of a purchase.

        The logits are float [lists, longest, 2]: one element per list, as the evaluation loop counts them.
        """
        config, fields = self._config, dict[str, Any](inputs)
        labels, sizes = fields.pop("labels"), fields.pop("list_sizes")
        teacher_inputs, encoder_margins = fields.pop("teacher", None), fields.pop("encoder_margins", None)
        logits = model(**fields)["logits"].float()
        shares = labels
        if model.training and self._teacher is not None:
            margins = self._teacher.margins(teacher_inputs)
            shares = soft_shares(labels, sizes, margins, config.teacher_weight)
            labels = soft_labels(labels, margins, config.teacher_weight)
        elif encoder_margins is not None:
            shares = soft_shares(labels, sizes, encoder_margins, config.contrastive_weight)
        loss = pointwise(logits, labels)
        if model.training and config.list_weight > 0:
            loss = loss + config.list_weight * listwise(logits, shares, sizes)
        if not return_outputs:
            return loss
        return loss, {"logits": pad_sequence(logits.split(sizes.tolist()), batch_first=True)}

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedEpochs:
        return LengthGroupedEpochs(
            self.train_dataset.lengths,
            int(self.args.num_train_epochs),
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            self.args.seed,
        )


def collator(base: Checkpoint, config: TrainingConfig, teacher: Teacher | None) -> Callable[[Any], dict[str, Any]]:
    """The function that makes the model's inputs of a batch of lists, and the teacher's where there is one.

    Of cross each pair is a row; of shared-history each list is one row, its history standing there once.
    """
    pad_id = base.tokenizer.pad_token_id or 0
    if config.arch == SHARED_HISTORY:
        student = partial(collate_lists, pad_id=pad_id, item_position=base.model.config.item_position)
    else:
        student = partial(collate, pad_id=pad_id)
    if teacher is None:
        return student
    return lambda batch: {**student(batch), "teacher": teacher.inputs(batch)}
