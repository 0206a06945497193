"""Callbacks that every training of a recommender runs with, beside the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class LogBefore(TrainerCallback):  # type: ignore[misc]
    """Puts the log of an earlier stage at the head of the Trainer's, which its checkpoints keep.

    Args:
        log: the entries, oldest first.

    """

    def __init__(self, log: Sequence[dict[str, float]]) -> None:
        self._log = log

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when a training begins or goes on."""
        state.log_history[:0] = self._log


class EvaluateAtEnd(TrainerCallback):  # type: ignore[misc]
    """Measures and saves after the last step too: as the learning rate falls to 0, it is often the best."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called after each optimizer step."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True


class BestCheckpointMoved(TrainerCallback):  # type: ignore[misc]
    """Finds the best checkpoint again where the run folder was moved before the training was resumed.

    The Trainer's state names that checkpoint by its old absolute path.
    """

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when a training begins or goes on."""
        if state.best_model_checkpoint is not None:
            state.best_model_checkpoint = str(Path(args.output_dir) / Path(state.best_model_checkpoint).name)
