"""Fixtures that every part shares: a tiny random bundle and the PyTorch model it came from; a tiny trained run.

The random bundle needs no training; the trained one has a ranking worth keeping, for the gate and the evaluation.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import string
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

# The models here are so small that a second thread only waits for the first. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import forcing
import numpy as np
import pytest
from filelock import FileLock
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import skips
from onyxrank import Limits
from onyxrank.bundle.entries import FileEntry, TokenizerSpec, Variant
from onyxrank.bundle.manifest import Manifest

forcing.begin()

# How long an example takes is a matter of the machine. The libraries' own environments go without hypothesis.
with contextlib.suppress(ImportError):
    import hypothesis

    hypothesis.settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("any machine")

WORDS = [
    *("steel", "tent", "pegs", "camping", "stove", "desk", "lamp", "office", "chair", "running", "shoes"),
    *("coffee", "grinder", "garden", "hose", "red", "blue", "green", "large", "small", "light", "cable"),
    *("wool", "yarn", "dog", "leash", "cat", "toy", "camera", "bag", "the", "for", "with", "and", "of"),
]


Once = Callable[[str, Callable[[Path], object]], Path]


@dataclass(frozen=True)
class Reference:
    """Eager PyTorch, one unpadded pair at a time."""

    model: Any
    tokenizer: Tokenizer

    def score(self, events: list[str], items: list[tuple[str, str]]) -> np.ndarray:
        import torch

        scores = []
        for title, description in items:
            pair = self.tokenizer.encode(" ; ".join(events), f"{title} {description}")
            with torch.no_grad():
                logits = self.model(
                    input_ids=torch.tensor([pair.ids]),
                    attention_mask=torch.ones(1, len(pair.ids), dtype=torch.long),
                    token_type_ids=torch.tensor([pair.type_ids]),
                ).logits
            scores.append(torch.softmax(logits.double(), dim=1)[0, 1].item())
        return np.array(scores)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped and why."""
    for line in skips.summary(report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes a folder once, whichever of the run's workers asks first; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, finished = base / name, base / f"{name}.finished"
        with FileLock(base / f"{name}.lock"):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                finished.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[[], Tokenizer]:
    return _tokenizer


@pytest.fixture(scope="session")
def tiny_reference() -> Reference:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = _tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        initializer_range=0.25,  # the usual 0.02 gives every pair nearly the same score
        num_labels=2,
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = BertForSequenceClassification(config).eval()
        # Centred, so that the probabilities spread around one half instead of crowding at an end.
        with torch.no_grad():
            model.classifier.bias -= model(torch.randint(5, config.vocab_size, (64, 12))).logits.mean(dim=0)
    return Reference(model, tokenizer)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An fp32 cross bundle; tests that alter it copy it first."""
    import torch

    folder = tmp_path_factory.mktemp("bundle")
    (folder / "onnx").mkdir()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    sample = tuple(torch.ones(2, 8, dtype=torch.long) for _ in names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the exporter warns of itself and of its tracing
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        torch.onnx.export(
            tiny_reference.model,
            sample,
            str(folder / "onnx" / "model.onnx"),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={
                **{name: {0: "batch_size", 1: "sequence_length"} for name in names},
                "logits": {0: "batch_size"},
            },
            opset_version=17,
            dynamo=False,
        )
    tiny_reference.tokenizer.save(str(folder / "tokenizer.json"))
    pad_id = tiny_reference.tokenizer.token_to_id("[PAD]")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "pad_token_id": pad_id}))
    manifest = Manifest(
        onyxrank_version="0.1.0",
        architecture="cross",
        head="softmax",
        limits=Limits(history_tokens=64, item_tokens=32),
        tokenizer=TokenizerSpec(file="tokenizer.json", cls_token="[CLS]", sep_token="[SEP]", prefix_safe=True),
        variants=(Variant(name="fp32", precision="fp32", files={"model": "onnx/model.onnx"}),),
        files={name: _entry(folder / name) for name in ("onnx/model.onnx", "tokenizer.json", "config.json")},
    )
    (folder / "onyxrank.json").write_text(json.dumps(manifest.to_json()))
    return folder


@pytest.fixture(scope="session")
def shop_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo shop, small."""
    from onyxrank_export.data.shop import write_shop

    folder = tmp_path_factory.mktemp("shop") / "data"
    write_shop(folder, n_items=200, n_shoppers=150)
    return folder


@pytest.fixture(scope="session")
def aisle_data(once: Once) -> Path:
    """Behaviour data that a tiny model learns in seconds."""
    from aisles import write_aisles

    return once("aisles", write_aisles)


@pytest.fixture(scope="session")
def search_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Search data over the same items."""
    from aisles import write_search

    return write_search(tmp_path_factory.mktemp("search") / "data")


@pytest.fixture(scope="session")
def trained_run(once: Once, aisle_data: Path) -> Path:
    """A run whose 2-layer model ranks far better than popularity."""
    return once("trained_run", lambda out: _train(aisle_data, out, "cross"))


@pytest.fixture(scope="session")
def shared_run(once: Once, aisle_data: Path) -> Path:
    """The same training with one-way attention."""
    return once("shared_run", lambda out: _train(aisle_data, out, "shared-history"))


@pytest.fixture(scope="session")
def late_run(once: Once, aisle_data: Path) -> Path:
    """A run of late-interaction, whose encoder of 2 layers has learnt for some steps."""
    settings = {"contrastive_steps": 20, "contrastive_batch": 32, "contrastive_rate": 1e-3}
    return once("late_run", lambda out: _train(aisle_data, out, "late-interaction", history_tokens=200, **settings))


@pytest.fixture(scope="session")
def late_bundle(once: Once, late_run: Path) -> Path:
    """The bundle of that run, likewise with every int8 variant there is."""
    return once("late_bundle", lambda out: _export(late_run, out))


@pytest.fixture(scope="session")
def trained_bundle(once: Once, trained_run: Path) -> Path:
    """The bundle of that run with every int8 variant there is, for whatever machine, behind limits that all keep.

    What the gate says at its real limits of a model so small is a matter of chance, and of the machine: which graphs
    are in the bundle is not.
    """
    return once("trained_bundle", lambda out: _export(trained_run, out))


@pytest.fixture(scope="session")
def shared_bundle(once: Once, shared_run: Path) -> Path:
    """The bundle of the shared-history run, likewise."""
    return once("shared_bundle", lambda out: _export(shared_run, out))


def _train(data: Path, out: Path, arch: str, *, history_tokens: int = 12, **settings: Any) -> None:
    from transformers import TrainerCallback

    from onyxrank_export.training.config import TrainingConfig
    from onyxrank_export.training.loop import train

    config = TrainingConfig(
        base="tiny",
        arch=arch,
        limits=Limits(history_tokens=history_tokens, item_tokens=6),
        epochs=4,
        learning_rate=1.5e-3,
        precision="fp32",
        validation_lists=60,
        **settings,
    )
    # On the CPU wherever the suite runs: the gate's real limits were met by what comes out there.
    with mock.patch("torch.cuda.is_available", return_value=False):
        train(data, out, config, callbacks=[TrainerCallback()])


def _export(run: Path, out: Path) -> None:
    from exporting import ANYTHING
    from onyxrank_export.conversion.export import ExportConfig, export_bundle

    export_bundle(run, out, ExportConfig(precisions=("fp32", "int8"), gate=ANYTHING), say=lambda _: None)


def _entry(path: Path) -> FileEntry:
    content = path.read_bytes()
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _tokenizer() -> Tokenizer:
    characters = string.ascii_lowercase + string.digits
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *string.punctuation, *characters, *(f"##{character}" for character in characters)]
    pieces += WORDS
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.add_special_tokens(special)
    return tokenizer
