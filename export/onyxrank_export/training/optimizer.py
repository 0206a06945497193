"""The head's own learning rate: it starts from nothing where the encoder is pre-trained."""

from __future__ import annotations

from torch.nn import Module, Parameter
from torch.optim import Optimizer


def head_parameters(model: Module) -> list[Parameter]:
    """The parameters of a transformers classifier that its pre-training did not train: all but the encoder's.

    The pooler belongs to the head: sentence models and BERT's successors are pre-trained without it.
    """
    encoder = model.base_model
    pooler = getattr(encoder, "pooler", None)
    of_pooler = set() if pooler is None else set(pooler.parameters())
    of_encoder = set(encoder.parameters()) - of_pooler
    return [parameter for parameter in model.parameters() if parameter not in of_encoder]


def raise_head_rate(optimizer: Optimizer, model: Module, times: float) -> None:
    """Let the head learn at so many times the encoder's rate; the optimizer must not have stepped yet."""
    head = set(head_parameters(model))
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if parameter in head]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if parameter not in head]
            optimizer.add_param_group({**group, "params": moved, "lr": group["lr"] * times})
