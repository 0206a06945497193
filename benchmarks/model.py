"""The bundle that the benchmarks run on: MiniLM, trained for a moment on the demo shop, in every variant.

Speed does not depend on how well the weights rank, so a few steps do; the quality gate is forced for the same reason.
The folder `.bench` beside this one, which git ignores, keeps it. Another bundle may be named in the
environment variable ONYXRANK_BENCH_BUNDLE; to compare with PyTorch it must hold its weights, as exported ones do.

    python benchmarks/model.py          builds the bundle if it is not there, and prints where it is
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from transformers import TrainerCallback

from onyxrank.architectures.registry import CROSS
from onyxrank.measure.requests import Pool
from onyxrank.request.truncation import Limits
from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.data.shop import build_shop, write_shop
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.loop import train

BUNDLE_VARIABLE = "ONYXRANK_BENCH_BUNDLE"
WORK = Path(__file__).resolve().parent.parent / ".bench"
LIMITS = Limits(history_tokens=256, item_tokens=48)
_STEPS = 8
_GATE_LISTS = 2


def bundle_folder() -> Path:
    """Return the folder of the bundle: the one named in the environment, or our own, built if it is not there."""
    named = os.environ.get(BUNDLE_VARIABLE)
    if named:
        return Path(named)
    return built_bundle("bundle", CROSS, LIMITS)


def built_bundle(name: str, architecture: str, limits: Limits) -> Path:
    """Return the folder of our own bundle of that name, which is built if it is not there."""
    bundle = WORK / name
    if not bundle.is_dir():
        _build(bundle, architecture, limits)
    return bundle


def shop_texts() -> Pool:
    """Return the demo shop's titles as events, and its products as items."""
    items = [product.item for product in build_shop(n_shoppers=1).products]
    return Pool(events=[item.title for item in items], items=items)


def _build(bundle: Path, architecture: str, limits: Limits) -> None:
    WORK.mkdir(exist_ok=True)
    shop, run = WORK / "shop", WORK / "run"
    for leftover in (shop, run):  # of a build that was interrupted
        shutil.rmtree(leftover, ignore_errors=True)
    say(f"building the benchmark bundle in {bundle}, once; this takes a few minutes")
    write_shop(shop)
    config = TrainingConfig(
        base="minilm", arch=architecture, limits=limits, epochs=1, max_steps=_STEPS, validation_lists=_GATE_LISTS
    )
    train(
        shop, run, config, callbacks=[TrainerCallback()]
    )  # any callback takes the place of the Trainer's own output
    export_bundle(run, bundle, ExportConfig(precisions=("fp32", "int8"), gate_lists=_GATE_LISTS, force=True), say=say)


def say(message: str) -> None:
    """Print what is being done."""
    print(f"· {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(bundle_folder())
