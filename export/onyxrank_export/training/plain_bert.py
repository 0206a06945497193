"""Which models are plain BERT, of whose layers the graphs are written by hand."""

from __future__ import annotations

from transformers import PretrainedConfig


def what_is_not_plain(config: PretrainedConfig) -> str:
    """What of a BERT's settings the hand-written layers would compute wrongly; empty if nothing is."""
    if config.hidden_act != "gelu":
        return f"its activation is {config.hidden_act}, not gelu"
    positions = getattr(config, "position_embedding_type", "absolute")
    return "" if positions == "absolute" else f"its positions are {positions}, not absolute"
