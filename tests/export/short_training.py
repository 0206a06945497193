"""A training of seconds, and listeners for what the tests want to see of it."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from onyxrank import Limits
from onyxrank_export.data.pairs import Sampling
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.loop import train

LIMITS = Limits(history_tokens=12, item_tokens=6)
STEPS = 12  # a little more than one epoch over `few`


def config(**changes):
    settings = {
        "base": "tiny",
        "limits": LIMITS,
        "sampling": Sampling(own_zeros=False),
        "epochs": 1,
        "batch_size": 32,
        "learning_rate": 5e-4,
        "head_rate": 3.0,
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


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


def evaluations(run):
    return [
        {name: value for name, value in entry.items() if not name.endswith(("_runtime", "_second"))}
        for entry in metrics(run)["evaluations"]
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


class Stages(TrainerCallback):
    """Keeps what was begun."""

    def __init__(self):
        self.stages = []

    def on_train_begin(self, args, state, control, **_):
        self.stages.append(args.run_name)
