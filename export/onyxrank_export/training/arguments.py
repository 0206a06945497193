"""From a `TrainingConfig` to transformers' `TrainingArguments`: one set for the recommender, one for its encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from onyxrank_export.training import processes
from onyxrank_export.training.config import TrainingConfig


def computes_bf16() -> bool:
    """Whether the machine computes in bfloat16 rather than emulating it."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch asks neither question in public. A torch without these private functions is taken for one that emulates.
    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return (
        torch.backends.mkldnn.is_available()
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        and in_hardware is not None
        and bool(in_hardware())
    )


class _OneDevice(TrainingArguments):  # type: ignore[misc]
    """Arguments of a process that trains on one GPU at most; several GPUs take several processes.

    Given several GPUs, the library would cut each batch into pieces for them (`torch.nn.DataParallel`). Our batches
    cannot be cut: a list must stay whole for its softmax, and contrastive pairs are each other's negatives.
    """

    @property
    def n_gpu(self) -> int:
        """How many GPUs this process uses: 0 or 1."""
        return min(1, int(super().n_gpu))


def recommender_arguments(
    folder: Path, config: TrainingConfig, lists: int, lists_per_batch: int, evaluated_together: int
) -> TrainingArguments:
    """Make the arguments for training the whole model, which is measured and saved as it goes.

    Args:
        folder: where the checkpoints go.
        config: the settings of the training.
        lists: how many lists an epoch has.
        lists_per_batch: how many lists a batch has on each device.
        evaluated_together: most candidates in one element of an evaluation's batch.

    """
    per_step = lists_per_batch * config.accumulate * processes.count()
    steps_per_epoch = max(1, lists // per_step)
    total = config.max_steps or steps_per_epoch * config.epochs
    every = max(1, min(steps_per_epoch, total) // config.evaluations)
    lower_is_better = config.metric in ("loss", "log_loss")
    return _arguments(
        folder,
        config,
        run_name="training",
        per_device_train_batch_size=lists_per_batch,
        per_device_eval_batch_size=max(1, 2 * config.batch_size // evaluated_together),
        gradient_accumulation_steps=config.accumulate,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{config.metric}",
        greater_is_better=not lower_is_better,
        logging_steps=max(1, every // 10),
        label_names=["labels"],
    )


def encoder_arguments(folder: Path, config: TrainingConfig) -> TrainingArguments:
    """Make the arguments for the contrastive training of the encoder: short, and neither measured nor saved."""
    return _arguments(
        folder,
        config,
        run_name="contrastive training",
        per_device_train_batch_size=config.contrastive_batch,
        max_steps=config.contrastive_steps,
        learning_rate=config.contrastive_rate,
        save_strategy="no",
        logging_steps=max(1, config.contrastive_steps // 10),
    )


def _arguments(folder: Path, config: TrainingConfig, **own: Any) -> TrainingArguments:
    on_gpu = torch.cuda.is_available()
    return _OneDevice(
        output_dir=str(folder),
        warmup_ratio=config.warmup,
        weight_decay=config.weight_decay,
        optim="adamw_torch_fused",
        lr_scheduler_type="linear",
        bf16=computes_bf16() if config.precision == "auto" else config.precision == "bf16",
        use_cpu=not on_gpu,
        ddp_backend="gloo" if processes.count() > 1 and not on_gpu else None,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        report_to="none",
        seed=config.seed,
        data_seed=config.seed,
        **own,
    )
