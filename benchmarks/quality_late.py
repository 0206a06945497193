"""Late interaction in the quality table: the model that `train` makes of a split, and what each part of it is worth.

The encoder and the score are trained as `onyxrank train` does, on the parts of a split, and rank the lists in PyTorch
and numpy: the graphs of a bundle give the same vectors to 1e-4, and tests hold margins to that. The ablations are
weighed anew: texts alone, ids alone, and all but what is learnt of the vectors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from transformers import set_seed

from model import say
from onyxrank.architectures.interaction import Interaction
from onyxrank.architectures.registry import LATE_INTERACTION
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.training.base import apart_encoder, resolve_base
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import contrastive_pairs
from onyxrank_export.training.encoder import train_encoder
from onyxrank_export.training.late import fitting
from onyxrank_export.training.late.vectors import catalogue_vectors
from onyxrank_export.training.late.weighing import Known
from onyxrank_export.training.progress import ProgressCallback
from onyxrank_export.training.recipe import recipe_of
from onyxrank_export.training.run_writing import device_name
from quality_arms import Listener, told
from quality_files import is_kept, keep
from quality_lists import Task, rows_of

WITHOUT: Mapping[str, Sequence[str]] = {
    "late-interaction": (),
    "late-texts": ("learned", "co_purchase", "next", "popularity", "trend"),
    "late-ids": ("text", "recent_text", "profile", "learned"),
    "late-unlearnt": ("learned",),
}
"""The arms, and the terms that each goes without."""


def measure_late(task: Task, seed: int) -> None:
    """Train and rank with what is not there yet; search data has its own protocol and goes without."""
    if task.split == "queries":
        return
    split = task.split if task.split in ("last", "time") else "last-item"
    config = TrainingConfig.from_options(arch=LATE_INTERACTION, split=split, seed=seed, **recipe_of(LATE_INTERACTION))
    how = told(config)
    missing = [arm for arm in WITHOUT if not all(is_kept(task, each, f"{arm}.seed{seed}", how) for each in task.test)]
    if not missing:
        return
    say(f"{task.data_set}, {task.split}: training late-interaction, seed {seed}")
    set_seed(seed)
    items = task.parts.data.items
    base = resolve_base(config.base, [item.title for item in items], seed=seed, dropout=config.dropout)
    texts = apart_encoder(base.tokenizer, config.limits, fitting.known_items(task.parts)[0])
    whole = _validation(task, seed)
    with tempfile.TemporaryDirectory() as folder:
        pairs = contrastive_pairs(task.parts, config)
        held_out = whole[:: -(-len(whole) // config.validation_lists)]
        train_encoder(base, task.parts, pairs, held_out, [], config, Path(folder), [ProgressCallback(Listener())])
    encoder, pad_id = base.model.base_model, int(base.tokenizer.pad_token_id or 0)
    fitted = fitting.fit_interaction(encoder, texts, task.parts, whole, pad_id, seed, say)
    say(f"validation: {fitted.quality}")
    vectors = catalogue_vectors(encoder, texts, items, pad_id)
    places = fitting.places_in(len(items), fitting.known_items(task.parts)[1])
    known = Known(vectors, places, vectors.items[:0], {}, config.limits.history_tokens)
    for arm in missing:
        interaction = fitted.without(WITHOUT[arm])
        for protocol, lists in task.test.items():
            scores = [_margins(interaction, known, row) for row in lists]
            keep(task, protocol, f"{arm}.seed{seed}", scores, recipe=how, trained_on=device_name())


def _validation(task: Task, seed: int) -> list[CandidateList]:
    """The lists to choose on: those of the published split are rows of a file of its own, of which every third."""
    if task.split in ("last", "time"):
        return fitting.validation_lists(task.parts, seed)
    return list(rows_of(task.parts, task.path / "valid.parquet")[::3])


def _margins(interaction: Interaction, known: Known, row: CandidateList) -> np.ndarray:
    return interaction.margins(known.events(row), known.items(row))
