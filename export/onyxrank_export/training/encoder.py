"""Trains the encoder of a recommender contrastively, before the recommender itself, by transformers' Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.splits import Split
from onyxrank_export.evaluation.metrics import ranking_metrics
from onyxrank_export.training.arguments import encoder_arguments
from onyxrank_export.training.base import Checkpoint
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import Pair, PairEncoder, PairTokens
from onyxrank_export.training.progress import drop_default_output
from onyxrank_export.training.similarity import Similarity

LOG_PREFIX = "contrastive_"


def train_encoder(
    base: Checkpoint,
    split: Split,
    pairs: Sequence[Pair],
    held_out: Sequence[CandidateList],
    lists: Sequence[CandidateList],
    config: TrainingConfig,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> tuple[Similarity, list[dict[str, float]]]:
    """Train the encoder of `base` in place and measure how it ranks by itself; the head is left as it is.

    Args:
        base: the model and its tokenizer.
        split: the data that the pairs are drawn from.
        pairs: the pairs to learn, in order; see `contrastive_pairs`.
        held_out: the lists to measure on.
        lists: further lists that the returned similarity is to give margins of.
        config: the settings of the whole training.
        folder: a folder that the Trainer asks for; nothing of this training is left in it.
        callbacks: the caller's own Trainer callbacks.

    Returns:
        The trained encoder's similarity of histories and items, and the log: entries with ``contrastive_step`` and
        the mean ``contrastive_loss`` since the entry before; the last has ranking metrics instead,
        ``contrastive_eval_auc`` and so on.

    """
    compared = [*held_out, *lists]
    texts = [*(pair.text for pair in pairs), *(text for row in compared for text in row.history)]
    tokens = PairTokens.of(texts, split, base.tokenizer, config)
    trainer = _Trainer(
        model=PairEncoder(base.model.base_model),
        args=encoder_arguments(folder, config),
        train_dataset=_Pairs(pairs),
        data_collator=tokens.collate,
        callbacks=[*callbacks],
    )
    if callbacks:
        drop_default_output(trainer)
    trainer.train()
    similarity = Similarity(base.model.base_model, tokens, compared)
    trainer.report(ranking_metrics([row.labels for row in held_out], [similarity.margins(row) for row in held_out]))
    log = [
        {f"{LOG_PREFIX}{name}": value for name, value in entry.items()}
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_auc" in entry
    ]
    return similarity, log


class _Trainer(Trainer):  # type: ignore[misc]
    """The library's Trainer over pairs that are in order already."""

    def report(self, measured: dict[str, float]) -> None:
        """Log metrics and hand them to the callbacks, under the names that the library would give them."""
        metrics = {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class _Pairs(Dataset):  # type: ignore[misc]
    """The pairs, in the order in which they are learnt."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        return self._pairs[index]
