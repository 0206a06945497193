"""Tells a caller how a training goes: the Trainer's events as calls of a listener, and nothing printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_callback import ProgressCallback as LibraryProgressCallback


class Listener(Protocol):
    """The calls that a progress display answers."""

    def begun(self, total: int, stage: str) -> None:
        """Called before the first optimizer step of a stage, ``contrastive training`` or ``training``.

        `total` is the number of steps that the stage has.
        """

    def step(self, done: int, total: int, loss: float | None) -> None:
        """Called after each optimizer step; `loss` is the mean since the last log, None before the first."""

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Called after each evaluation; metrics have the Trainer's names, such as ``eval_ndcg_at_10``."""


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Hands the Trainer's events to a listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loss: float | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called when everything is loaded."""
        self._listener.begun(state.max_steps, args.run_name)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Called after an optimizer step."""
        self._listener.step(state.global_step, state.max_steps, self._loss)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Called at each log: remembers the mean loss since the one before."""
        if logs and "loss" in logs:
            self._loss = logs["loss"]

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Called after an evaluation."""
        self._listener.evaluated(state.global_step, metrics or {})


def drop_default_output(trainer: Trainer) -> None:
    """Remove the callbacks by which the library prints of its own accord."""
    for default in (PrinterCallback, LibraryProgressCallback):
        trainer.remove_callback(default)
