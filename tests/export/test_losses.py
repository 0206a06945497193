from __future__ import annotations

import torch
from torch.nn import functional

from onyxrank_export.training.losses import listwise, pointwise


def test_the_loss_per_pair_is_cross_entropy():
    logits, labels = torch.randn(6, 2), torch.tensor([0.0, 1, 1, 0, 0, 1])
    torch.testing.assert_close(pointwise(logits, labels), functional.cross_entropy(logits, labels.long()))
    margins = logits[:, 1] - logits[:, 0]
    soft = torch.rand(6)
    torch.testing.assert_close(pointwise(logits, soft), functional.binary_cross_entropy_with_logits(margins, soft))


def test_the_loss_per_list_counts_lists_that_say_something():
    logits = torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, 0.0], [3.0, 3.0], [0.0, 9.0], [0.0, 4.0]])
    labels = torch.tensor([1.0, 0, 0, 0, 0, 1])
    first = -torch.log_softmax(torch.tensor([2.0, 1, 0]), 0)[0]
    torch.testing.assert_close(listwise(logits, labels, torch.tensor([3, 2, 1])), first)
    graded = torch.tensor([1.0, 0.5, 0, 0, 0, 0])
    logs = torch.log_softmax(torch.tensor([2.0, 1, 0]), 0)
    torch.testing.assert_close(listwise(logits, graded, torch.tensor([3, 2, 1])), -(2 * logs[0] + logs[1]) / 3)
    nothing = listwise(logits.requires_grad_(), torch.zeros(6), torch.tensor([3, 2, 1]))
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()
