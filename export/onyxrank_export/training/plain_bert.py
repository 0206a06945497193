"""Which models are plain BERT. Only their layers can be written into a graph by hand (`conversion.bert_layers`)."""

from __future__ import annotations

from transformers import PretrainedConfig


def what_is_not_plain(config: PretrainedConfig) -> str:
    """Name the setting of a BERT that the hand-written layers would compute wrongly; empty if there is none."""
    if config.hidden_act != "gelu":
        return f"its activation is {config.hidden_act}, not gelu"
    positions = getattr(config, "position_embedding_type", "absolute")
    return "" if positions == "absolute" else f"its positions are {positions}, not absolute"
