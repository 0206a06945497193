"""A checkpoint of BERT-base's shape that computes what a trained MiniLM-L6 does, so that this shape can race too.

1. Twice as wide: every feature stands twice, and what reads both takes half of each (Net2WiderNet, Chen, Goodfellow
   and Shlens, "Net2Net", ICLR 2016, section 2.3). That is exact. Hidden size 768, 12 heads of 64, inner size 3,072.
2. Twice as deep: after each layer stands one that adds next to nothing, and whose layer norms give back what they
   take. BERT normalizes after the sum, so this is exact only as far as mean and deviation over the features are alike
   for all tokens: they are measured on texts.

Its scores are those of the small model to a few hundredths, so it ranks alike and its int8 graphs stand before the
gate like any other; its time is that of BERT-base.

    python benchmarks/grow.py RUN OUT
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, BertConfig

from model import say, shop_texts
from onyxrank.measure.ways import WEIGHTS
from onyxrank_export.training.base import load_checkpoint

_TEXTS = 64
_FAINT = 1e-4
"""The deviation of the weights by which an added layer adds to its input. It is next to nothing, but not zero, since
zeros could not be quantized."""
_USUAL = 0.02
_LAYERS = "bert.encoder.layer."

Weights = dict[str, Tensor]


def main() -> None:
    """Write the grown run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of a BERT model")
    parser.add_argument("out", type=Path, help="run folder to write")
    options = parser.parse_args()
    grow(options.run, options.out, [item.title for item in shop_texts().items[:_TEXTS]])
    say(f"wrote {options.out}")


def grow(run: Path, out: Path, texts: list[str]) -> None:
    """Copy a run folder with its model twice as wide and twice as deep.

    Args:
        run: a finished run of a BERT model with position embeddings of its own.
        out: where to write; must not exist.
        texts: what the added layers are fitted to.

    """
    checkpoint = load_checkpoint(run)
    encoded = checkpoint.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = checkpoint.model.bert(**encoded, output_hidden_states=True)
    tokens = encoded["attention_mask"].bool()
    spreads = [spread(states[tokens]) for states in found.hidden_states[1:]]
    shutil.copytree(run, out)
    config = AutoConfig.from_pretrained(run)
    save_file(grown(load_file(run / WEIGHTS), config, spreads), out / WEIGHTS, metadata={"format": "pt"})
    config.hidden_size *= 2
    config.intermediate_size *= 2
    config.num_hidden_layers *= 2
    config.save_pretrained(out)


def spread(states: Tensor) -> tuple[float, float]:
    """Return mean and deviation over the features of float [tokens, features], each averaged over the tokens."""
    return float(states.mean(dim=1).mean()), float(states.std(dim=1, correction=0).mean())


def grown(weights: Weights, config: BertConfig, spreads: list[tuple[float, float]]) -> Weights:
    """Make the weights of a BERT classifier wider and deeper.

    Args:
        weights: by transformers' names.
        config: of the small model.
        spreads: mean and deviation of what each of its layers gives.

    """
    result: Weights = {}
    head_size = config.hidden_size // config.num_attention_heads
    dice = torch.Generator().manual_seed(0)
    for name, tensor in weights.items():
        wide = wider(name, tensor, head_size)
        if not name.startswith(_LAYERS):
            result[name] = wide
            continue
        number, part = name.removeprefix(_LAYERS).split(".", 1)
        layer = int(number)
        result[f"{_LAYERS}{2 * layer}.{part}"] = wide
        result[f"{_LAYERS}{2 * layer + 1}.{part}"] = faint(part, wide, *spreads[layer], dice)
    return result


def wider(name: str, tensor: Tensor, head_size: int) -> Tensor:
    """Make one tensor of the wider model."""

    def by_halves(part: Tensor, dim: int) -> Tensor:
        return torch.cat([part, part], dim)

    def by_heads(part: Tensor, dim: int) -> Tensor:  # within attention a copy stands in the same head
        return torch.cat([copy for head in part.split(head_size, dim) for copy in (head, head)], dim)

    of_heads, to_heads = ".attention.output.dense" in name, ".attention.self." in name
    if "embeddings" in name and tensor.ndim == 2:
        return by_halves(tensor, 1)
    if tensor.ndim == 2:
        tensor = (by_heads if of_heads else by_halves)(tensor / 2, 1)
    if name.startswith("classifier"):
        return tensor
    tensor = (by_heads if to_heads else by_halves)(tensor, 0)
    # Twice the features double a product of query and key, and its divisor grows by the root of 2 alone.
    return tensor / 2**0.5 if ".attention.self.query." in name else tensor


def faint(part: str, like: Tensor, mean: float, deviation: float, dice: torch.Generator) -> Tensor:
    """Make one tensor of an added layer."""
    if part.endswith("LayerNorm.weight"):
        return torch.full_like(like, deviation)
    if part.endswith("LayerNorm.bias"):
        return torch.full_like(like, mean)
    if like.ndim == 1:
        return torch.zeros_like(like)
    return torch.randn(like.shape, generator=dice) * (_FAINT if "output.dense" in part else _USUAL)


if __name__ == "__main__":
    main()
