"""The settings of a training, checked when they are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from onyxrank.architectures.registry import CROSS, LATE_INTERACTION, SHARED_HISTORY
from onyxrank.errors import InvalidInput
from onyxrank.request.truncation import Limits
from onyxrank_export.data.pairs import Sampling
from onyxrank_export.data.shoppers import SPLITS

ARCHITECTURES = (CROSS, SHARED_HISTORY, LATE_INTERACTION)
METRICS = ("ndcg_at_10", "auc", "mrr", "hit_rate_at_10", "accuracy", "loss", "log_loss")
PRECISIONS = ("auto", "bf16", "fp32")
_LEAST = {
    "epochs": 1,
    "contrastive_steps": 0,
    "contrastive_batch": 2,
    "batch_size": 1,
    "accumulate": 1,
    "evaluations": 1,
    "validation_lists": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Everything that decides the result of a training, beside the data.

    Attributes:
        base: ``minilm``, ``tiny``, a folder or a hub name.
        arch: the architecture to train.
        split: how the data is split into training, validation and test, one of `SPLITS`.
        limits: tokens the model reads of history and item.
        sampling: how training negatives are drawn.
        epochs: passes over the pairs.
        max_steps: optimizer steps after which to stop; None runs all epochs.
        contrastive_steps: steps of contrastive training of the encoder before all else; 0 leaves it out.
        contrastive_batch: pairs of a text and an item in each of those steps, per device.
        contrastive_rate: peak learning rate of those steps.
        contrastive_weight: share of the encoder's order of a list in the order that is learnt, 0.0 to 1.0; the labels
            are the rest.
        batch_size: pairs per step and device.
        accumulate: batches whose gradients are added up before a step.
        learning_rate: peak of the AdamW learning rate, reached after `warmup` and then falling linearly to 0.
        head_rate: learning rate of the head (pooler and classifier) as a multiple of the encoder's.
        warmup: share of the steps over which the learning rate rises.
        weight_decay: AdamW's weight decay (Loshchilov and Hutter 2019).
        dropout: share of hidden states dropped in training; None keeps the base's own.
        list_weight: weight of the cross-entropy over each list, beside the one per pair; 0 leaves it out.
        teacher: run of a cross model over the same tokens whose margins are learnt too; None for none.
        teacher_weight: share of the teacher in what is learnt, 0.0 to 1.0; the labels are the rest.
        precision: ``bf16``, ``fp32``, or ``auto`` (bf16 where the machine computes in it).
        evaluations: how often per epoch to measure on validation lists and save a checkpoint.
        validation_lists: most lists of the validation part to measure on.
        metric: the metric that picks the best checkpoint.
        seed: seed of the new weights, of the order and of dropout; the sampling has its own.

    """

    base: str = "minilm"
    arch: str = "cross"
    split: str = "last"
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    epochs: int = 2
    max_steps: int | None = None
    contrastive_steps: int = 0
    contrastive_batch: int = 128
    contrastive_rate: float = 1e-4
    contrastive_weight: float = 0.0
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 5e-5
    head_rate: float = 1.0
    warmup: float = 0.06
    weight_decay: float = 0.01
    dropout: float | None = None
    list_weight: float = 1.0
    teacher: str | None = None
    teacher_weight: float = 0.5
    precision: str = "auto"
    evaluations: int = 1
    validation_lists: int = 200
    metric: str = "ndcg_at_10"
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("arch", self.arch, ARCHITECTURES)
        _one_of("split", self.split, SPLITS)
        _one_of("metric", self.metric, METRICS)
        _one_of("precision", self.precision, PRECISIONS)
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} must be at least {least}, not {getattr(self, name)}", field=name)
        if self.max_steps is not None and self.max_steps < 1:
            raise InvalidInput(f"max_steps must be at least 1, not {self.max_steps}", field="max_steps")
        if not self.list_weight >= 0:
            raise InvalidInput(f"list_weight must not be negative, not {self.list_weight}", field="list_weight")
        if not 0 <= self.seed < 2**32:
            raise InvalidInput(f"seed must be from 0 to {2**32 - 1}, not {self.seed}", field="seed")
        for name in ("warmup", "dropout", "teacher_weight", "contrastive_weight"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise InvalidInput(f"{name} must be from 0 to 1, not {share}", field=name)
        for name in ("learning_rate", "head_rate", "contrastive_rate"):
            if not getattr(self, name) > 0:
                raise InvalidInput(f"{name} must be above 0, not {getattr(self, name)}", field=name)

        if self.contrastive_weight > 0 and (self.contrastive_steps == 0 or self.teacher is not None):
            raise InvalidInput(
                "contrastive_weight needs contrastive_steps and goes without a teacher", field="contrastive_weight"
            )

    @classmethod
    def from_options(cls, **options: Any) -> TrainingConfig:
        """The settings of flat options, as ``onyxrank train`` and recipes name them.

        The options of `Limits` and `Sampling` stand beside the others; ``seed`` is that of the sampling too.

        Raises:
            InvalidInput: if a value is out of its range.
            TypeError: if there is no such option.

        """
        limits = {each.name: options.pop(each.name) for each in fields(Limits) if each.name in options}
        sampling = {each.name: options.pop(each.name) for each in fields(Sampling) if each.name in options}
        if "seed" in sampling:
            options["seed"] = sampling["seed"]
        return cls(limits=Limits(**limits), sampling=Sampling(**sampling), **options)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, for ``run.json``."""
        return asdict(self)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidInput(f"{name} must be one of {', '.join(allowed)}, not {value!r}", field=name)
