"""Which class of a classifier is that of relevant items, by the names in its configuration.

The project's own models have it last, and the engine reads it there. A model from elsewhere may have it first; its
head is then turned round when it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

_DEFAULT = re.compile(r"label \d+")
"""What transformers calls classes that nobody has named."""
_RELEVANT = frozenset(
    {"relevant", "positive", "pos", "yes", "true", "1", "purchase", "purchased", "buy", "bought", "click", "clicked"}
    | {"match", "related", "interested", "like", "liked", "good"}
)
_OTHER = frozenset(
    {"irrelevant", "negative", "neg", "no", "false", "0", "mismatch", "unrelated", "uninterested", "unlike"}
    | {"dislike", "disliked", "bad", "none"}
)
_DENIALS = ("not ", "non ", "no ")


def relevant_class(labels: Sequence[str]) -> int | None:
    """Say which of two classes is for relevant items.

    Args:
        labels: names of the classes, in order.

    Returns:
        The class, or None if the names do not tell. Classes that nobody has named are in the usual order.

    """
    words = [" ".join(re.split(r"[\W_]+", label.strip().lower())) for label in labels]
    if all(_DEFAULT.fullmatch(word) for word in words):
        return 1
    signs = [_sign(word) for word in words]
    if signs[0] == signs[1]:
        return None
    return 1 if signs[1] > signs[0] else 0


def labels_of(model: PreTrainedModel) -> list[str]:
    """Return the names of a model's classes, in order."""
    return [str(model.config.id2label[number]) for number in range(model.config.num_labels)]


def turn_round(model: PreTrainedModel) -> None:
    """Exchange the two classes of a model: in its head, and their names."""
    heads = [part for part in model.modules() if isinstance(part, torch.nn.Linear) and part.out_features == 2]
    with torch.no_grad():
        for values in heads[-1].parameters():
            values.copy_(values.flip(0))
    name_classes(model, labels_of(model)[::-1])


def name_classes(model: PreTrainedModel, labels: Sequence[str] = ("LABEL_0", "LABEL_1")) -> None:
    """Write the names of a model's classes into its configuration."""
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: number for number, label in enumerate(labels)}


def _sign(words: str) -> int:
    """Return 1 for the name of a class of relevant items, -1 for that of the others, and 0 for any other name."""
    if words.startswith(_DENIALS) or words in _OTHER:
        return -1
    return 1 if words in _RELEVANT else 0
