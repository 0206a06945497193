"""The losses of training: cross-entropy per pair and over each list, and targets that mix labels with a teacher's.

A margin is the logit of class 1 minus that of class 0. A row is one pair; the rows of a list follow one another.
"""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence


def pointwise(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy of 2 logits against a probability of class 1; of labels 0 and 1 it is the usual one.

    Args:
        logits: float [rows, 2].
        labels: float [rows], the probability of class 1, 0.0 to 1.0.

    Returns:
        A scalar.

    """
    return functional.cross_entropy(logits, torch.stack([1 - labels, labels], dim=-1))


def listwise(logits: torch.Tensor, labels: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of the softmax over each list's margins against its labels, brought to a sum of 1.

    This is the top-one form of ListNet (Cao et al. 2007, section 4). Lists without a positive, or of one row, say
    nothing about order and are left out.

    Args:
        logits: float [rows, 2].
        labels: float [rows], 0.0 to 1.0.
        sizes: int64 [lists], rows of each list, in order.

    Returns:
        A scalar, the mean over the lists; 0 if none says anything about order.

    """
    counts = sizes.tolist()
    margins = pad_sequence(list((logits[:, 1] - logits[:, 0]).split(counts)), batch_first=True, padding_value=-1e9)
    targets = pad_sequence(list(labels.split(counts)), batch_first=True)
    totals = targets.sum(dim=1)
    ordered = (totals > 0) & (sizes > 1)
    if not ordered.any():
        return logits.sum() * 0.0
    log_shares = functional.log_softmax(margins[ordered], dim=1)
    return -(targets[ordered] / totals[ordered, None] * log_shares).sum(dim=1).mean()


def soft_labels(labels: torch.Tensor, teacher: torch.Tensor, weight: float) -> torch.Tensor:
    """Mix labels with a teacher's probabilities, as targets of `pointwise` (distillation at temperature 1).

    Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2.

    Args:
        labels: float [rows], 0.0 to 1.0.
        teacher: float [rows], the teacher's margins.
        weight: share of the teacher, 0.0 to 1.0.

    Returns:
        float [rows].

    """
    return (1 - weight) * labels + weight * torch.sigmoid(teacher)


def soft_shares(labels: torch.Tensor, sizes: torch.Tensor, teacher: torch.Tensor, weight: float) -> torch.Tensor:
    """Mix labels with a teacher's order, as targets of `listwise`.

    In each list, the labels are brought to a sum of 1 and mixed with the softmax over the teacher's margins.

    Args:
        labels: float [rows], 0.0 to 1.0.
        sizes: int64 [lists], rows of each list, in order.
        teacher: float [rows], the teacher's margins.
        weight: share of the teacher, 0.0 to 1.0.

    Returns:
        float [rows].

    """
    lists = zip(labels.split(sizes.tolist()), teacher.split(sizes.tolist()), strict=True)
    shares = [
        (1 - weight) * own / own.sum().clamp(min=1e-9) + weight * functional.softmax(margins, dim=0)
        for own, margins in lists
    ]
    return torch.cat(shares)
