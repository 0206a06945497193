"""BERT with one-way attention: the history never sees an item, so that it is computed once for all items.

1. Tokens of the history (segment 0) attend to the history; tokens of an item (segment 1, 2, …) attend to the history
   and to their own item. So several items can stand in one row, and each is scored as if it stood there alone.
2. An item's positions start at `item_position`, however long the history is: its embeddings do not depend on that.
3. The readout is the state of the item's closing ``[SEP]``, through BERT's pooler and classifier:
   ``[CLS]`` belongs to the history and cannot see an item.

PreTTR (MacAvaney et al., SIGIR 2020) and DeFormer (Cao et al., ACL 2020) split attention in BERT rankers; here the
split is trained from the start and goes through all layers in one direction only. Weights, layers and attention are
the library's: only masks, positions and the state that is read differ from `BertForSequenceClassification`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from onyxrank.request.truncation import Limits
from onyxrank_export.training.dataset import Row, targets


class SharedHistoryForSequenceClassification(BertForSequenceClassification):  # type: ignore[misc]
    """The recommender of the shared-history architecture, over transformers' BERT layers.

    Its configuration has `item_position`, the position of an item's first token.
    """

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        readout: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Score pairs, or rows of a history with several items.

        Args:
            input_ids: int64 [rows, length], history then items, then padding.
            attention_mask: int64 [rows, length], 1 on tokens.
            token_type_ids: int64 [rows, length], the segment: 0 on history and padding, k on the k-th item.
            position_ids: int64 [rows, length]; by default those of pairs.
            readout: int64 [items, 2], row and column of each item's closing token; by default those of pairs.

        Returns:
            ``logits`` [items, classes], in the order of `readout`.

        """
        if position_ids is None:
            position_ids = pair_positions(attention_mask, token_type_ids, self.config)
        states = self.bert(
            input_ids=input_ids,
            attention_mask=one_way_mask(attention_mask, token_type_ids),
            token_type_ids=token_type_ids.clamp(max=1),
            position_ids=position_ids,
        ).last_hidden_state
        if readout is None:
            rows = torch.arange(input_ids.shape[0], device=input_ids.device)
            columns = attention_mask.sum(dim=1) - 1
        else:
            rows, columns = readout.unbind(dim=1)
        pooled = self.bert.pooler(states[rows, columns].unsqueeze(1))
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))


def first_item_position(limits: Limits) -> int:
    """The position of an item's first token: behind ``[CLS]``, the longest history and its ``[SEP]``."""
    return limits.history_tokens + 2


def one_way_mask(attention_mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    """Say which token may attend to which.

    Args:
        attention_mask: int64 [rows, length], 1 on tokens.
        segments: int64 [rows, length], 0 on the history and k on the k-th item.

    Returns:
        int64 [rows, from, to], 1 where `to` is a token of the history or of the same item as `from`.

    """
    in_history = segments[:, None, :] == 0
    in_same_item = segments[:, None, :] == segments[:, :, None]
    return (in_history | in_same_item).to(attention_mask.dtype) * attention_mask[:, None, :]


def pair_positions(attention_mask: torch.Tensor, segments: torch.Tensor, config: Any) -> torch.Tensor:
    """Number the tokens of rows ``[CLS] history [SEP] item [SEP]``: int64 [rows, length] positions."""
    places = torch.arange(segments.shape[1], device=segments.device)[None, :]
    history = ((segments == 0).to(attention_mask.dtype) * attention_mask).sum(dim=1, keepdim=True)
    item_places = (places - history + config.item_position).clamp(0, config.max_position_embeddings - 1)
    return torch.where(segments > 0, item_places, places.expand_as(segments))


def collate_lists(batch: Sequence[Sequence[Row]], pad_id: int, item_position: int) -> dict[str, torch.Tensor]:
    """Put each list in one row: its history once, then its items.

    Args:
        batch: the rows of each list, history and item together, as `ListDataset` gives them.
        pad_id: token id to pad with.
        item_position: position of an item's first token.

    Returns:
        The arguments of `SharedHistoryForSequenceClassification.forward`, and the `targets`.

    """
    ids, segments, positions, readout = [], [], [], []
    for number, pairs in enumerate(batch):
        history = pairs[0]["token_type_ids"].count(0)
        row, row_segments, row_positions = pairs[0]["input_ids"][:history], [0] * history, list(range(history))
        for segment, pair in enumerate(pairs, start=1):
            item = pair["input_ids"][history:]
            row = row + item
            row_segments += [segment] * len(item)
            row_positions += range(item_position, item_position + len(item))
            readout.append((number, len(row) - 1))
        ids.append(torch.tensor(row))
        segments.append(torch.tensor(row_segments))
        positions.append(torch.tensor(row_positions))
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_id),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "token_type_ids": pad_sequence(segments, batch_first=True),
        "position_ids": pad_sequence(positions, batch_first=True),
        "readout": torch.tensor(readout),
        **targets(batch),
    }
