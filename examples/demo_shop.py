"""What the examples rank with: a bundle of a made-up shop, trained in seconds when it is first needed.

A real application has a bundle of its own, from ``onyxrank export``: name it in the environment variable
ONYXRANK_BUNDLE. This one has learnt for seconds, so its rankings show the way and not the quality.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

MADE = Path(os.environ.get("ONYXRANK_EXAMPLES") or Path(__file__).resolve().parents[1] / ".examples")
_STEPS = 100


def bundle() -> Path:
    """The folder of the bundle to rank with."""
    named = os.environ.get("ONYXRANK_BUNDLE")
    return Path(named) if named else _made() / "bundle"


def catalogue() -> pl.DataFrame:
    """The shop's items: ``item_id, item_title, item_description``."""
    return pl.read_parquet(_made() / "shop" / "items.parquet").select("item_id", "item_title", "item_description")


def purchases() -> pl.DataFrame:
    """What its shoppers bought: ``user_id, item_id``, in order of time."""
    interactions = pl.read_parquet(_made() / "shop" / "interactions.parquet")
    return interactions.filter(pl.col("behavior") == 1).select("user_id", "item_id")


def _made() -> Path:
    """The folder with shop and bundle, made if it is not there."""
    if not MADE.is_dir():
        sys.stderr.write("Making a shop and a small model of it, once: about 20 seconds.\n")
        MADE.parent.mkdir(parents=True, exist_ok=True)
        # Elsewhere first, so that a folder which is there is whole. In a process of its own, which keeps PyTorch out
        # of the example's, and on one thread: the model is so small that a second one only waits.
        with tempfile.TemporaryDirectory(dir=MADE.parent, prefix=".making-") as scratch:
            made = Path(scratch) / "made"
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([sys.executable, __file__, made], env=environment, check=True)
            try:
                made.rename(MADE)
            except OSError:  # another example was faster
                if not MADE.is_dir():
                    raise
    return MADE


def _make(folder: Path) -> None:
    from transformers import TrainerCallback

    from onyxrank import Limits
    from onyxrank_export.conversion.export import ExportConfig, export_bundle
    from onyxrank_export.data.shop import write_shop
    from onyxrank_export.training.config import TrainingConfig
    from onyxrank_export.training.loop import train

    write_shop(folder / "shop", n_items=400, n_shoppers=300)
    config = TrainingConfig(
        base="tiny",
        arch="shared-history",
        limits=Limits(history_tokens=64, item_tokens=24),
        max_steps=_STEPS,
        batch_size=16,
        learning_rate=1e-3,
        precision="fp32",
        validation_lists=8,
    )
    train(folder / "shop", folder / "run", config, callbacks=[TrainerCallback()])
    export_bundle(folder / "run", folder / "bundle", ExportConfig(precisions=("fp32",)), say=lambda _: None)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _make(Path(sys.argv[1]))
    else:
        print(bundle())
