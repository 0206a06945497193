"""The training of late-interaction, from data to a run folder.

1. The encoder learns contrastively which things are bought together (`contrastive`). If it then ranks the validation
   lists worse than before, it stays as it was.
2. The score is fitted to the encoder (`fitting`).
3. The run folder gets the encoder, its tokenizer and the score.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, set_seed

from onyxrank.architectures.interaction_files import FOLDER, write_interaction
from onyxrank.request.readability import ALLOWED_UNKNOWN
from onyxrank_export.data.lists import lists_of_validation
from onyxrank_export.data.splits import Split, split_data
from onyxrank_export.data.values import Interactions, SearchLabels
from onyxrank_export.evaluation.metrics import ranking_metrics
from onyxrank_export.quiet import quiet
from onyxrank_export.training import processes
from onyxrank_export.training.base import Checkpoint, apart_encoder, resolve_base
from onyxrank_export.training.base_folder import UnsuitableModel
from onyxrank_export.training.begun import claim
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import PairTokens, contrastive_pairs
from onyxrank_export.training.encoder import LOG_PREFIX, train_encoder
from onyxrank_export.training.late.fitting import fit_interaction, known_items, validation_lists
from onyxrank_export.training.memory import kept_memory
from onyxrank_export.training.plain_bert import what_is_not_plain
from onyxrank_export.training.preparation import check_readable
from onyxrank_export.training.run import CHECKPOINTS
from onyxrank_export.training.run_writing import write_late_run
from onyxrank_export.training.similarity import Similarity


def train_late(
    data: Interactions | SearchLabels,
    out: Path,
    config: TrainingConfig,
    description: dict[str, Any],
    callbacks: Sequence[TrainerCallback] = (),
    say: Callable[[str], None] = lambda text: None,
    *,
    allow_unknown: float = ALLOWED_UNKNOWN,
) -> None:
    """Train and write the run folder.

    Args:
        data: the data, read and checked.
        out: the run folder, which is free.
        config: everything that decides the result.
        description: as of `describe_data`.
        callbacks: the caller's own Trainer callbacks.
        say: told each step of the fitting as it begins.
        allow_unknown: most of each share of `Readability` that the base's vocabulary may leave unread.

    Raises:
        DataError: if the data has too little to train or to measure on.
        UnreadableCatalogue: if the vocabulary does not know more than `allow_unknown` of the texts.
        UnsuitableModel: if the base is no plain BERT.

    """
    split = split_data(data, config.split)
    set_seed(config.seed)
    base = _base(data, config)
    texts = apart_encoder(base.tokenizer, config.limits, known_items(split)[0])
    unread = check_readable(data, texts, allow_unknown)
    claim(out, config, description)
    started = time.monotonic()
    with quiet(), kept_memory():
        log = _train_encoder(base, split, config, out, callbacks)
        lists = validation_lists(split, config.seed)
        fitted = fit_interaction(base.model.base_model, texts, split, lists, _pad_id(base), config.seed, say)
    seconds = time.monotonic() - started
    if processes.is_first():
        base.model.base_model.save_pretrained(out)
        base.tokenizer.save_pretrained(out)
        write_interaction(out / FOLDER, fitted.interaction, fitted.known)
        told = description | {"readability": unread.to_json()}
        write_late_run(out, fitted.quality, [*log, *fitted.log], config, told, seconds=seconds)
    processes.wait_for_all()


def _base(data: Interactions | SearchLabels, config: TrainingConfig) -> Checkpoint:
    texts = [text for item in data.items for text in (item.title, item.description)]
    base = resolve_base(config.base, texts, seed=config.seed, dropout=config.dropout)
    if base.model.config.model_type != "bert" or (reason := what_is_not_plain(base.model.config)):
        why = reason if base.model.config.model_type == "bert" else f"it is {base.model.config.model_type}"
        raise UnsuitableModel(
            f"late-interaction cannot be made of '{config.base}': {why}; choose a BERT base such as minilm or "
            "bert-base-uncased"
        )
    if config.limits.item_tokens + 2 > base.model.config.max_position_embeddings:
        raise UnsuitableModel(
            f"base '{config.base}' has {base.model.config.max_position_embeddings} positions, fewer than an item has "
            "tokens: lower --item-tokens"
        )
    return base


def _train_encoder(
    base: Checkpoint,
    split: Split,
    config: TrainingConfig,
    out: Path,
    callbacks: Sequence[TrainerCallback],
) -> list[dict[str, float]]:
    """Train the encoder in place, unless that makes it worse, and give its log."""
    if not config.contrastive_steps:
        return []
    lists = lists_of_validation(split, most=config.validation_lists)
    labels = [row.labels for row in lists]
    encoder = base.model.base_model
    texts = [text for row in lists for text in row.history]
    tokens = PairTokens.of(texts, split, base.tokenizer, config)
    untrained = Similarity(encoder, tokens, lists)
    before = ranking_metrics(labels, [untrained.margins(row) for row in lists])["ndcg_at_10"]
    kept = {name: value.clone() for name, value in encoder.state_dict().items()}
    pairs = contrastive_pairs(split, config)
    _, log = train_encoder(base, split, pairs, lists, [], config, out / CHECKPOINTS, callbacks)
    after = log[-1][f"{LOG_PREFIX}eval_ndcg_at_10"]
    log.insert(0, {f"{LOG_PREFIX}step": 0, f"{LOG_PREFIX}eval_ndcg_at_10": before})
    if after < before:
        encoder.load_state_dict(kept)
    return log


def _pad_id(base: Checkpoint) -> int:
    return int(base.tokenizer.pad_token_id or 0)
