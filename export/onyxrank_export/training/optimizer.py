"""A learning rate of its own for the head, whose weights are fresh where those of the encoder are pre-trained."""

from __future__ import annotations

from torch.nn import Module, Parameter
from torch.optim import Optimizer


def head_parameters(model: Module) -> list[Parameter]:
    """Give the parameters of a transformers classifier that its pre-training did not train: all but the encoder's.

    The pooler belongs to the head: sentence models and BERT's successors are pre-trained without it.
    """
    encoder = model.base_model
    pooler = getattr(encoder, "pooler", None)
    pooler_parameters = set() if pooler is None else set(pooler.parameters())
    pretrained = set(encoder.parameters()) - pooler_parameters
    return [parameter for parameter in model.parameters() if parameter not in pretrained]


def raise_head_rate(optimizer: Optimizer, model: Module, times: float) -> None:
    """Give the head `times` the learning rate of the encoder, in parameter groups of its own.

    Args:
        optimizer: the optimizer of the model's parameters; it must not have stepped yet.
        model: a transformers classifier.
        times: the head's rate as a multiple.

    """
    head = set(head_parameters(model))
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if parameter in head]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if parameter not in head]
            optimizer.add_param_group({**group, "params": moved, "lr": group["lr"] * times})
