"""What a training works with: the lists to learn and to measure on, and the model to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from onyxrank.architectures.registry import SHARED_HISTORY
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.readability import Readability, readability
from onyxrank_export.data.lists import CandidateList, lists_of_validation
from onyxrank_export.data.pairs import training_lists
from onyxrank_export.data.splits import Split, split_data
from onyxrank_export.data.values import Interactions, SearchLabels
from onyxrank_export.training.base import Checkpoint, resolve_base, text_encoder
from onyxrank_export.training.base_folder import UnsuitableModel
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.shared_history import first_item_position
from onyxrank_export.training.teacher import Teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The parts of one training.

    Attributes:
        split: the data in its three parts.
        validation: the lists to measure on.
        lists: the lists to learn, one epoch after the other, as many in each.
        lists_per_epoch: how many lists one epoch has.
        base: the model to train and its tokenizer.
        encoder: the engine's text encoder over that tokenizer, so that serving reads the same token ids.
        teacher: the recommender whose margins are learnt too; None for none.
        readability: how much of the catalogue the tokenizer's vocabulary does not know.

    """

    split: Split
    validation: Sequence[CandidateList]
    lists: Sequence[CandidateList]
    lists_per_epoch: int
    base: Checkpoint
    encoder: TextEncoder
    teacher: Teacher | None
    readability: Readability

    @property
    def pairs_per_epoch(self) -> int:
        """How many pairs of a history and an item one epoch has."""
        return sum(len(row.items) for row in self.lists[: self.lists_per_epoch])


def describe_data(path: str | Path, data: Interactions | SearchLabels) -> dict[str, Any]:
    """What ``run.json`` says about the data: where it is and what it was, no text of it."""
    return {
        "path": str(Path(path).resolve()),
        "fingerprint": data.fingerprint,
        "kind": "behaviour" if isinstance(data, Interactions) else "search",
        "items": len(data.items),
    }


def prepare(data: Interactions | SearchLabels, config: TrainingConfig, allow_unknown: float) -> Prepared:
    """Split the data, draw the lists of every epoch and load the model; sets the seed of everything random.

    Raises:
        DataError: if the data has too little to train or to measure on.
        MissingExtra: if the base is of a package that is not installed.
        UnreadableCatalogue: if the vocabulary does not know more than `allow_unknown` of the texts.
        RunError: if the teacher is no finished cross run over the same tokens.
        UnsuitableModel: if the base is not a BERT-family model, or too short for the limits.

    """
    split = split_data(data, config.split)
    validation = lists_of_validation(split, most=config.validation_lists)
    set_seed(config.seed)
    base = _base(data, config)
    encoder = text_encoder(base.tokenizer, config.limits)
    unread = check_readable(data, encoder, allow_unknown)
    teacher = None if config.teacher is None else Teacher(config.teacher, base.tokenizer, config.limits)
    lists = [row for epoch in range(config.epochs) for row in training_lists(split, config.sampling, epoch)]
    return Prepared(
        split=split,
        validation=validation,
        lists=lists,
        lists_per_epoch=len(lists) // config.epochs,
        base=base,
        encoder=encoder,
        teacher=teacher,
        readability=unread,
    )


def check_readable(data: Interactions | SearchLabels, encoder: TextEncoder, allowed: float) -> Readability:
    """Count what the vocabulary does not know of the data's texts.

    Raises:
        UnreadableCatalogue: if that is more than is allowed.

    """
    unread = readability(encoder, data.items, data.queries if isinstance(data, SearchLabels) else ())
    unread.check(allowed)
    return unread


def _base(data: Interactions | SearchLabels, config: TrainingConfig) -> Checkpoint:
    texts = [text for item in data.items for text in (item.title, item.description)]
    item_position = first_item_position(config.limits) if config.arch == SHARED_HISTORY else None
    base = resolve_base(config.base, texts, seed=config.seed, item_position=item_position, dropout=config.dropout)
    positions = getattr(base.model.config, "max_position_embeddings", None)
    if positions is not None and config.limits.sequence_tokens > positions:
        raise UnsuitableModel(
            f"base '{config.base}' has {positions} positions; the limits need {config.limits.sequence_tokens}: "
            "lower --history-tokens or --item-tokens"
        )
    return base
