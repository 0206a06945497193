"""The model of a run, loaded to be converted, with what makes token ids for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from onyxrank.architectures.interaction_files import FOLDER, read_known
from onyxrank.architectures.registry import LATE_INTERACTION
from onyxrank.request.encoding import TextEncoder
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.export_config import ExportConfig
from onyxrank_export.conversion.late_conversion import write_sentence_encoder
from onyxrank_export.quiet import quiet
from onyxrank_export.training.base import apart_encoder, load_checkpoint, text_encoder
from onyxrank_export.training.base_folder import UnsuitableModel
from onyxrank_export.training.run import Run


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run's model.

    Attributes:
        model: the model in PyTorch.
        tokenizer: its tokenizer.
        encoder: the engine's text encoder over that tokenizer.
        head: how its answers become a probability, ``softmax`` or ``sigmoid``.

    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    encoder: TextEncoder
    head: str


def load_model(run: Run, config: ExportConfig) -> Loaded:
    """Load the model of a run, or of a folder of a fine-tuned cross-encoder.

    Raises:
        BundleError: if the score of late-interaction cannot be read.
        ExportError: if a run's own token limits or classes would be changed.
        UnsuitableModel: if the model cannot be loaded, or has fewer positions than the limits need.

    """
    if config.relevant is not None and run.data_path is not None:
        raise ExportError("the class of purchases is that which the run was trained with; leave --relevant out")
    if config.limits is not None and run.data_path is not None and config.limits != run.limits:
        raise ExportError("the token limits are those the run was trained with; leave them out")
    if run.architecture == LATE_INTERACTION:
        return _encoder_of(run)
    checkpoint = load_checkpoint(run.folder, relevant=config.relevant)
    limits = config.limits or run.limits
    positions = getattr(checkpoint.model.config, "max_position_embeddings", limits.sequence_tokens)
    if limits.sequence_tokens > positions:
        raise UnsuitableModel(f"the model has {positions} positions; the limits need {limits.sequence_tokens}")
    head = "sigmoid" if checkpoint.model.config.num_labels == 1 else "softmax"
    return Loaded(checkpoint.model, checkpoint.tokenizer, text_encoder(checkpoint.tokenizer, limits), head)


def write_model(run: Run, loaded: Loaded, folder: Path) -> None:
    """Write the model, its tokenizer and what else the architecture reads into a bundle's folder."""
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    if run.architecture == LATE_INTERACTION:
        shutil.copytree(run.folder / FOLDER, folder / FOLDER, copy_function=shutil.copyfile)
        write_sentence_encoder(folder, loaded.model.config.hidden_size, loaded.encoder.limits.item_tokens + 2)


def _encoder_of(run: Run) -> Loaded:
    try:
        with quiet():
            model = AutoModel.from_pretrained(run.folder, attn_implementation="eager").eval()
            tokenizer = AutoTokenizer.from_pretrained(run.folder, use_fast=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UnsuitableModel(f"cannot load the encoder in '{run.folder}': {error}") from error
    return Loaded(model, tokenizer, apart_encoder(tokenizer, run.limits, read_known(run.folder / FOLDER)), "sigmoid")
