"""Writes the files of a run folder when its training is over (`run` says which they are, and reads them)."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from onyxrank.machine.cpus import describe
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.curves import draw_curves
from onyxrank_export.training.encoder import LOG_PREFIX
from onyxrank_export.training.preparation import Prepared
from onyxrank_export.training.run import (
    CHECKPOINTS,
    CURVES_FILE,
    METRICS_FILE,
    RUN_FILE,
    RUN_SCHEMA,
    share_mode,
    write_json,
)

_VERSIONED = ("torch", "transformers", "accelerate", "tokenizers", "onyxrank")


def device_name() -> str:
    """The GPU or processor that a training runs on here, by its maker's name."""
    return str(torch.cuda.get_device_name() if torch.cuda.is_available() else describe()["cpu_model"])


def write_run(
    out: Path,
    trainer: Trainer,
    prepared: Prepared,
    config: TrainingConfig,
    data: dict[str, Any],
    *,
    seconds: float,
) -> None:
    """Write everything but the model itself, which the Trainer has saved to `out`, and remove the checkpoints.

    Args:
        out: the run folder.
        trainer: the Trainer after its last step; its log has the figures.
        prepared: what the training worked with.
        config: of the training.
        data: as of `describe_data`.
        seconds: how long the training took.

    """
    state = trainer.state
    (out / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json says the same in the open
    prepared.base.tokenizer.save_pretrained(out)
    history = [entry for entry in state.log_history if "loss" in entry or "eval_loss" in entry]
    evaluations = [entry for entry in history if "eval_loss" in entry]
    contrastive = [entry for entry in state.log_history if f"{LOG_PREFIX}step" in entry]
    write_json(
        out / METRICS_FILE,
        {"metric": config.metric, "contrastive": contrastive, "evaluations": evaluations, "log": history},
    )
    draw_curves(history, out / CURVES_FILE, metric=config.metric)
    best = next((entry for entry in evaluations if entry["step"] == state.best_global_step), evaluations[-1])
    write_json(
        out / RUN_FILE,
        _content(
            config,
            data,
            {
                "pairs": prepared.pairs_per_epoch,
                "steps": state.global_step,
                "best_step": state.best_global_step,
                "seconds": round(seconds, 1),
                "precision": "bf16" if trainer.args.bf16 else "fp32",
                "device": device_name(),
                "validation": _validation_figures(best),
            },
        ),
    )
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    share_mode(out / RUN_FILE)


def write_late_run(
    out: Path,
    quality: dict[str, float],
    log: list[dict[str, float]],
    config: TrainingConfig,
    data: dict[str, Any],
    *,
    seconds: float,
) -> None:
    """Write what a run of late-interaction has beside the encoder, the tokenizer and the score.

    Args:
        out: the run folder.
        quality: NDCG@10 on the validation lists that the terms were weighed on, by term.
        log: of the encoder's contrastive training, and of the maps.
        config: of the training.
        data: as of `describe_data`.
        seconds: how long the training took.

    """
    contrastive = [entry for entry in log if f"{LOG_PREFIX}step" in entry]
    maps = [entry for entry in log if "epoch" in entry]
    write_json(out / METRICS_FILE, {"contrastive": contrastive, "maps": maps, "terms": quality})
    history = [{key.removeprefix(LOG_PREFIX): value for key, value in entry.items()} for entry in contrastive]
    draw_curves(history, out / CURVES_FILE, metric="ndcg_at_10")
    write_json(
        out / RUN_FILE,
        _content(
            config,
            data,
            {
                "steps": config.contrastive_steps,
                "seconds": round(seconds, 1),
                "terms": quality,
                "device": device_name(),
                "validation": {"ndcg_at_10": quality["all"]},
            },
        ),
    )
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    share_mode(out / RUN_FILE)


def _content(config: TrainingConfig, data: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """The content of ``run.json`` of a training that has finished."""
    return {
        "schema_version": RUN_SCHEMA,
        "finished": True,
        "config": config.to_json(),
        "data": data,
        "training": training,
        "versions": {name: version(name) for name in _VERSIONED} | {"python": platform.python_version()},
    }


def _validation_figures(entry: dict[str, float]) -> dict[str, float]:
    """The metrics of one evaluation by their own names, without how long it took."""
    return {
        key.removeprefix("eval_"): value
        for key, value in entry.items()
        if key.startswith("eval_") and not key.endswith(("_second", "_runtime"))
    }
