"""Learns linear maps of the encoder's vectors, and a residual for every item that was bought in training.

The score is that of a vector term (`onyxrank.architectures.interaction`), trained end to end over real histories:

1. A purchase is predicted from the baskets before it, by the softmax over the catalogue, or over the batch's items
   and a sample where the catalogue is large (Bengio and Senécal 2008; an item of the sample stands for several).
2. The maps begin at the identity and the residuals at 0, so that the first checkpoint is the encoder alone.
3. Residuals are dropped at random in training, so that an item still ranks by its text.
4. The checkpoint with the best NDCG@10 on validation lists is kept: what is learnt from few purchases overfits soon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module, Parameter, functional

from onyxrank.architectures.interaction import Maps, VectorTerm
from onyxrank_export.data.shoppers import WHOLE_BASKETS, Shopper
from onyxrank_export.data.splits import BehaviourSplit
from onyxrank_export.training.contrastive import TEMPERATURE
from onyxrank_export.training.late.vectors import CatalogueVectors

MOST_EVENTS = 10
"""Newest events of a history that are learnt from."""
_MOST_SCORED = 4096
"""Most items in the softmax of one step."""
_BATCH = 128
_MOST_PURCHASES = 40_000
"""Most purchases of an epoch, drawn anew for each."""
_EPOCHS = 3
_LEAST_STEPS = 200
"""Of few purchases there are more epochs, so that there are as many steps."""
_EVALUATIONS = 2
_PATIENCE = 1.0
"""Epochs without a better checkpoint after which training ends."""
_MAP_RATE, _RESIDUAL_RATE, _SCALAR_RATE = 5e-4, 1e-3, 5e-3
_DROPPED = 0.4
_NO_EVENT = -1e9


@dataclass(frozen=True, slots=True)
class Purchases:
    """Training purchases with what was bought before.

    Attributes:
        events: int64 [purchases, MOST_EVENTS], positions of the items bought before, newest first.
        present: bool of the same shape, which of these there are.
        targets: int64 [purchases], positions of the items bought.

    """

    events: torch.Tensor
    present: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, split: BehaviourSplit) -> Purchases:
        """List the training purchases that have a basket before them."""
        histories, targets = [], []
        for shopper in split.shoppers:
            for start, end in _baskets(split, shopper):
                histories += [shopper.purchases[max(0, start - MOST_EVENTS) : start][::-1]] * (end - start)
                targets += shopper.purchases[start:end].tolist()
        events = np.zeros((len(targets), MOST_EVENTS), np.int64)
        present = np.zeros(events.shape, bool)
        for place, history in enumerate(histories):
            events[place, : len(history)], present[place, : len(history)] = history, True
        return cls(torch.from_numpy(events), torch.from_numpy(present), torch.tensor(targets, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.targets)


def learn_maps(
    vectors: CatalogueVectors,
    split: BehaviourSplit,
    known: NDArray[np.int32],
    quality: Callable[[VectorTerm], float],
    seed: int,
    say: Callable[[dict[str, float]], None] = lambda entry: None,
) -> VectorTerm:
    """Learn a mapped vector term of weight 1.

    Args:
        vectors: of the catalogue.
        split: the data; its training purchases are learnt from.
        known: int32 [known items], positions in the catalogue of the items that get residuals.
        quality: measures a term on validation lists; larger is better.
        seed: seed of order, dropout and samples.
        say: told each checkpoint: ``epoch``, ``loss`` since the one before, ``quality``.

    """
    torch.manual_seed(seed)
    purchases = Purchases.of(split)
    model = _Model(vectors, known, torch.from_numpy(split.popularity.astype(np.float32)))
    best = model.term()
    highest, last = quality(best), 0.0
    say({"epoch": 0.0, "quality": highest})
    if not len(purchases):
        return best
    optimizer = torch.optim.AdamW(model.groups(), weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(max(_EPOCHS, math.ceil(_LEAST_STEPS * _BATCH / len(purchases)))):
        order = torch.randperm(len(purchases), generator=generator)[:_MOST_PURCHASES]
        for part, rows in enumerate(torch.chunk(order, _EVALUATIONS)):
            losses = [_step(model, optimizer, purchases, batch, generator) for batch in rows.split(_BATCH)]
            found = model.term()
            reached = quality(found)
            done = epoch + (part + 1) / _EVALUATIONS
            say({"epoch": done, "loss": float(np.mean(losses)), "quality": reached})
            if reached > highest:
                best, highest, last = found, reached, done
            elif done > last + _PATIENCE:
                return best
    return best


class _Model(Module):  # type: ignore[misc]
    """The term as a trainable module.

    Args:
        vectors: of the catalogue; they stay as they are.
        known: positions of the items that get residuals.
        popularity: float32 [items], training purchases.

    """

    def __init__(self, vectors: CatalogueVectors, known: NDArray[np.int32], popularity: torch.Tensor) -> None:
        super().__init__()
        items, width = vectors.items.shape
        self._titles, self._items = torch.from_numpy(vectors.titles), torch.from_numpy(vectors.items)
        self._known = known
        self._often = torch.log1p(popularity)
        self.event_map, self.item_map = (Parameter(torch.zeros(width, width)) for _ in range(2))
        self.event_residuals, self.item_residuals = (Parameter(torch.zeros(items, width)) for _ in range(2))
        self.recency, self.popularity = Parameter(torch.zeros(())), Parameter(torch.zeros(()))
        self.scale = Parameter(torch.tensor(-np.log(TEMPERATURE), dtype=torch.float32))

    def groups(self) -> list[dict[str, Any]]:
        """The parameters with their learning rates."""
        return [
            {"params": [self.event_map, self.item_map], "lr": _MAP_RATE},
            {"params": [self.event_residuals, self.item_residuals], "lr": _RESIDUAL_RATE},
            {"params": [self.recency, self.popularity, self.scale], "lr": _SCALAR_RATE},
        ]

    def forward(self, events: torch.Tensor, present: torch.Tensor, scored: torch.Tensor) -> torch.Tensor:
        """Score items after histories: float [histories, scored items].

        Args:
            events: int64 [histories, events], newest first.
            present: bool of the same shape.
            scored: int64 [scored items], positions in the catalogue.

        """
        used, place = events.unique(return_inverse=True)
        left = self._mapped(self._titles[used], self.event_map, self.event_residuals[used])
        right = self._mapped(self._items[scored], self.item_map, self.item_residuals[scored])
        ages = torch.log(torch.arange(1, events.shape[1] + 1, dtype=torch.float32))
        logits = (left @ right.T * self.scale.exp())[place]  # [histories, events, scored]
        counts = torch.where(present, -self.recency * ages, _NO_EVENT)
        return torch.logsumexp(logits + counts[:, :, None], dim=1) + self.popularity * self._often[scored]

    def _mapped(self, vectors: torch.Tensor, matrix: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
        if self.training:
            residuals = residuals * (torch.rand(len(vectors), 1) >= _DROPPED)
        return vectors + vectors @ matrix + residuals

    def term(self) -> VectorTerm:
        """The term as it is now, with weight 1."""
        copied = {
            "events": self.event_map,
            "items": self.item_map,
            "event_residuals": self.event_residuals[self._known],
            "item_residuals": self.item_residuals[self._known],
        }
        return VectorTerm(
            weight=1.0,
            temperature=float(torch.exp(-self.scale.detach())),
            recency=float(self.recency.detach()),
            maps=Maps(**{name: value.detach().numpy().copy() for name, value in copied.items()}),
        )


def _step(
    model: _Model,
    optimizer: torch.optim.Optimizer,
    purchases: Purchases,
    batch: torch.Tensor,
    generator: torch.Generator,
) -> float:
    events, present, targets = purchases.events[batch], purchases.present[batch], purchases.targets[batch]
    scored, correction = _scored(targets, len(model._items), generator)
    logits = model(events, present, scored) + correction
    # What the shopper has already is not what is bought next.
    had = torch.zeros(len(batch), len(model._items), dtype=torch.bool)
    had.scatter_(1, events, present)
    logits = logits.masked_fill(had[:, scored] & (scored != targets[:, None]), -torch.inf)
    loss = functional.cross_entropy(logits, torch.searchsorted(scored, targets))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _scored(
    targets: torch.Tensor, items: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """Choose the items of a softmax, in order of position, and what is added to the logit of each."""
    if items <= _MOST_SCORED:
        return torch.arange(items), 0.0
    own = targets.unique()
    drawn = torch.randperm(items, generator=generator)[:_MOST_SCORED]
    scored = torch.cat([own, drawn]).unique()
    stands_for = torch.full((len(scored),), float(np.log(items / _MOST_SCORED)))
    stands_for[torch.searchsorted(scored, own)] = 0.0
    return scored, stands_for


def _baskets(split: BehaviourSplit, shopper: Shopper) -> Sequence[tuple[int, int]]:
    """The training baskets of a shopper but the first: where each begins and ends.

    Where the split holds out single purchases rather than baskets, every purchase is one.
    """
    times = np.arange(shopper.training)
    if split.name in WHOLE_BASKETS and shopper.times is not None:
        times = shopper.times[: shopper.training]
    starts = (np.flatnonzero(np.diff(times)) + 1).tolist()
    return list(zip(starts, [*starts[1:], shopper.training], strict=True)) if starts else []
