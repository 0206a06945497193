"""A trained recommender whose margins another one learns (distillation, Hinton et al. 2015, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from onyxrank.architectures.registry import CROSS
from onyxrank.request.truncation import Limits
from onyxrank_export.training.base import load_checkpoint
from onyxrank_export.training.base_folder import UnsuitableModel
from onyxrank_export.training.dataset import Row, collate
from onyxrank_export.training.run import RunError, read_run


class Teacher:
    """The model of a finished run of the cross architecture, in evaluation mode.

    Args:
        folder: the run folder of the teacher.
        tokenizer: the student's tokenizer; the teacher must have the same vocabulary.
        limits: the student's token limits; the teacher must have the same.

    Raises:
        RunError: if the folder is no finished run, or one of another architecture or of other limits.
        UnsuitableModel: if the vocabulary is another, or the model does not have 2 classes.

    """

    def __init__(self, folder: str | Path, tokenizer: PreTrainedTokenizerBase, limits: Limits) -> None:
        run = read_run(folder)
        if run.architecture != CROSS:
            raise RunError(f"the teacher '{folder}' is of the architecture {run.architecture}; it must be cross")
        if run.limits != limits:
            raise RunError(f"the teacher '{folder}' reads {run.limits}, the student {limits}: train both with one")
        checkpoint = load_checkpoint(folder)
        if checkpoint.tokenizer.get_vocab() != tokenizer.get_vocab():
            raise UnsuitableModel(f"the teacher '{folder}' has another vocabulary: start both from one base")
        if checkpoint.model.config.num_labels != 2:
            raise UnsuitableModel(f"the teacher '{folder}' must have 2 classes")
        self._model = checkpoint.model.eval().requires_grad_(requires_grad=False)
        self._collate = partial(collate, pad_id=tokenizer.pad_token_id or 0)

    def inputs(self, batch: Sequence[Sequence[Row]]) -> dict[str, torch.Tensor]:
        """Make the arguments of `margins` of the lists of a batch: int64 [rows, longest] each, every pair a row."""
        arrays = self._collate(batch)
        return {name: arrays[name] for name in ("input_ids", "attention_mask", "token_type_ids")}

    def margins(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The logit of class 1 minus that of class 0 of every pair: float32 [rows]."""
        self._model.to(inputs["input_ids"].device)
        with torch.no_grad():
            logits = self._model(**inputs).logits.float()
        return logits[:, 1] - logits[:, 0]
