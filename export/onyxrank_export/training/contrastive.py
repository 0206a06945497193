"""Contrastive training of the encoder on what belongs together, before the recommender itself is trained.

1. A pair is one text of a history and an item of the same shopper (or a query and an item labelled relevant).
2. Text and item are encoded apart, each as the mean of its token states (Sentence-BERT, Reimers and Gurevych 2019,
   section 3). Their cosine should be larger than that with any other text or item of the batch: the loss is InfoNCE
   (van den Oord et al. 2018, eq. 4).
3. Other things that the same shopper bought are not taken as negatives.

Texts are short and every pair has a whole batch of negatives, so learning from a purchase costs a fraction of what it
costs in the recommender's training, which then begins with an encoder that knows which things go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Module, functional
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from onyxrank.request.items import Item
from onyxrank.request.truncation import Limits
from onyxrank_export.data.pairs import Sampling, training_lists
from onyxrank_export.data.splits import BehaviourSplit, SearchSplit, Split
from onyxrank_export.data.values import DataError, Fault
from onyxrank_export.training.base import text_encoder
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.dataset import encode_items

TEMPERATURE = 0.05
"""Cosines are divided by this before the softmax."""
MOST_TOKENS = 32
"""Most tokens read of a text or an item: the title, and of an item as much of its description as fits."""
_TEXTS_PER_BATCH = 128
"""Texts that are encoded together where nothing is learnt."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that belong together.

    Attributes:
        text: a text of the history, or the query.
        item: position of the item in the catalogue.
        related: texts that are negatives of neither: the titles of all that the shopper bought in training, or the
            query and the titles of the items that are relevant to it.

    """

    text: str
    item: int
    related: frozenset[str]


def contrastive_pairs(split: Split, config: TrainingConfig) -> list[Pair]:
    """Draw the pairs that the encoder is trained on, in order: `contrastive_batch` for each of `contrastive_steps`.

    Every training purchase is the item of a pair once an epoch; the text is the title of another purchase of the same
    shopper, drawn anew each time.

    Raises:
        DataError: if there is no pair: in search data, if no label of a training query is from the upper half.

    """
    return list(islice(_pairs(split, config), config.contrastive_steps * config.contrastive_batch))


def _pairs(split: Split, config: TrainingConfig) -> Iterator[Pair]:
    groups = _by_shopper(split) if isinstance(split, BehaviourSplit) else _by_query(split)
    places = [(group, place) for group in groups for place in range(len(group.items))]
    if not places:
        raise DataError((Fault("labels", None, "label", "no training query has a relevant item to learn from"),))
    for epoch in count():
        generator = np.random.default_rng([config.seed, epoch, 2])
        for index in generator.permutation(len(places)):
            group, place = places[index]
            yield Pair(group.text_for(place, generator), group.items[place], group.related)


@dataclass(frozen=True, slots=True)
class _Group:
    """The purchases of one shopper and their titles, or a query and the items that are relevant to it.

    Attributes:
        texts: the titles, one for each item; or the query alone.
        items: positions in the catalogue.
        related: as of `Pair`.

    """

    texts: tuple[str, ...]
    items: tuple[int, ...]
    related: frozenset[str]

    def text_for(self, place: int, generator: np.random.Generator) -> str:
        """Draw the text of a pair for the item at `place`: of a shopper any title but that of the item itself."""
        own = len(self.texts) > 1
        chosen = int(generator.integers(len(self.texts) - own))
        return self.texts[chosen + (own and chosen >= place)]


def _by_shopper(split: BehaviourSplit) -> list[_Group]:
    groups = []
    for shopper in split.shoppers:
        if shopper.training > 1:
            bought = tuple(shopper.purchases[: shopper.training].tolist())
            titles = tuple(split.data.items[item].title for item in bought)
            groups.append(_Group(titles, bought, frozenset(titles)))
    return groups


def _by_query(split: SearchSplit) -> list[_Group]:
    groups = []
    for row in training_lists(split, Sampling()):
        relevant = tuple(row.items[row.labels >= 0.5].tolist())
        titles = (split.data.items[item].title for item in relevant)
        groups.append(_Group(row.history, relevant, frozenset({*row.history, *titles})))
    return groups


def in_batch_loss(
    texts: torch.Tensor, items: torch.Tensor, related: torch.Tensor, priors: torch.Tensor
) -> torch.Tensor:
    """The mean of two cross-entropies: of each text over the batch's items, and of each item over its texts.

    Args:
        texts: float [n, width], unit vectors.
        items: float [n, width], unit vectors; row i belongs to text i.
        related: bool [n, 2, n]; whether, for pair i, the item (0) or the text (1) of pair j is not to be a negative.
        priors: float [n], added to the logit of an item where it is a negative. In a batch an item occurs as often as
            it was bought; this weighs it as if it had been drawn from another distribution (importance sampling,
            Bengio and Senécal 2008, section 3).

    """
    own = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
    cosines = texts @ items.T / TEMPERATURE
    others = torch.where(own, 0.0, priors[None, :])
    answers = torch.arange(len(texts), device=texts.device)
    item_logits = (cosines + others).masked_fill(related[:, 0] & ~own, -torch.inf)
    text_logits = cosines.T.masked_fill(related[:, 1] & ~own, -torch.inf)
    return (functional.cross_entropy(item_logits, answers) + functional.cross_entropy(text_logits, answers)) / 2


class PairEncoder(Module):  # type: ignore[misc]
    """A module whose output is the loss of a batch of pairs; one encoder encodes texts and items alike."""

    def __init__(self, encoder: Module) -> None:
        super().__init__()
        self._encoder = encoder

    def forward(
        self,
        texts: torch.Tensor,
        text_mask: torch.Tensor,
        items: torch.Tensor,
        item_mask: torch.Tensor,
        related: torch.Tensor,
        priors: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Take the arrays that `PairTokens.collate` makes, and give `in_batch_loss` as ``loss``."""
        left, right = embed(self._encoder, texts, text_mask), embed(self._encoder, items, item_mask)
        return {"loss": in_batch_loss(left, right, related, priors)}


def embed(encoder: Module, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Encode texts as unit vectors, the normalized mean of their token states (Reimers and Gurevych 2019, section 3).

    Args:
        encoder: a BERT-family encoder.
        ids: int64 [n, length], token ids.
        mask: int64 [n, length], 1 on tokens and 0 on padding.

    Returns:
        float32 [n, width].

    """
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    return functional.normalize((states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True), dim=1)


def vectors_of(encoder: Module, rows: Sequence[Sequence[int]], pad_id: int) -> NDArray[np.float32]:
    """Encode any number of texts, those of similar length in one batch: float32 [n, width]."""
    device = next(encoder.parameters()).device
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    vectors = np.empty((len(rows), encoder.config.hidden_size), np.float32)
    encoder.eval()
    with torch.inference_mode():
        for start in range(0, len(order), _TEXTS_PER_BATCH):
            places = order[start : start + _TEXTS_PER_BATCH]
            ids, mask = pad([rows[place] for place in places], pad_id)
            vectors[places] = embed(encoder, ids.to(device), mask.to(device)).cpu().numpy()
    return vectors


@dataclass(frozen=True, slots=True)
class PairTokens:
    """The token ids of the texts and items that pairs are made of.

    Attributes:
        texts: token ids of each text of a history, special tokens included.
        items: token ids of each item of the catalogue, likewise.
        titles: the items' titles.
        priors: float32 [items], see `in_batch_loss`.
        pad_id: token id to pad with.

    """

    texts: dict[str, list[int]]
    items: list[list[int]]
    titles: list[str]
    priors: NDArray[np.float32]
    pad_id: int

    @classmethod
    def of(
        cls, texts: Iterable[str], split: Split, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig
    ) -> PairTokens:
        """Tokenize texts of histories and the whole catalogue, each text once."""
        limits = Limits(item_tokens=min(MOST_TOKENS, config.limits.item_tokens))
        encoder = text_encoder(tokenizer, limits)
        opening = encoder.fit_history([])[0][:1]
        items = split.data.items
        events = [Item("", text) for text in dict.fromkeys(texts)]
        return cls(
            texts={
                item.title: opening + ids for item, ids in zip(events, encode_items(events, encoder), strict=True)
            },
            items=[opening + ids for ids in encode_items(items, encoder)],
            titles=[item.title for item in items],
            priors=_priors(split, config),
            pad_id=tokenizer.pad_token_id or 0,
        )

    def collate(self, pairs: Sequence[Pair]) -> dict[str, torch.Tensor]:
        """Make the arguments of `PairEncoder.forward`: int64 ids and masks [n, longest], ``related``, ``priors``."""
        texts, text_mask = pad([self.texts[pair.text] for pair in pairs], self.pad_id)
        items, item_mask = pad([self.items[pair.item] for pair in pairs], self.pad_id)
        others = [(self.titles[pair.item], pair.text) for pair in pairs]
        related = [
            [[title in pair.related for title, _ in others], [text in pair.related for _, text in others]]
            for pair in pairs
        ]
        return {
            "texts": texts,
            "text_mask": text_mask,
            "items": items,
            "item_mask": item_mask,
            "related": torch.tensor(related),
            "priors": torch.from_numpy(self.priors[[pair.item for pair in pairs]]),
        }


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of token ids to the longest: ids and mask, int64 [n, longest]."""
    ids = [torch.tensor(row) for row in rows]
    return (
        pad_sequence(ids, batch_first=True, padding_value=pad_id),
        pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
    )


def _priors(split: Split, config: TrainingConfig) -> NDArray[np.float32]:
    """The logarithm of the weight that an item should have as a negative, over the weight it has in a batch.

    In a batch an item occurs in proportion to its purchases c; it should count in proportion to c to the power of
    the sampling's `popularity_power`. So the prior is (power - 1) · log c: float32 [items].
    """
    if not isinstance(split, BehaviourSplit):
        return np.zeros(len(split.data.items), np.float32)
    power = config.sampling.popularity_power - 1
    return (power * np.log(np.maximum(split.popularity, 1))).astype(np.float32)
