"""The one checkpoint that all peers run: a bundle's cross-encoder with a single logit, and its plain ONNX graph.

Rerankers expect one logit and take its sigmoid. For a model of 2 classes the difference of the two rows of its last
layer gives just that: sigmoid(z1 - z0) is the softmax's P(class 1).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from onyxrank.bundle.manifest import Manifest
from onyxrank.machine.fingerprint import digest
from onyxrank.measure.ways import WEIGHTS
from onyxrank_export.conversion.fp32 import export_fp32

_LONGEST = 512


def checkpoint_key(manifest: Manifest, calibration: Sequence[tuple[str, str]]) -> str:
    """Return a short hexadecimal name for the files that a checkpoint is made of, this module included."""
    files = [manifest.files[name].sha256 for name in (WEIGHTS, "config.json", manifest.tokenizer.file)]
    return digest({"files": files, "calibration": calibration, "module": Path(__file__).read_text(encoding="utf-8")})


def peer_checkpoint(bundle: Path, folder: Path, calibration: Sequence[tuple[str, str]]) -> Path:
    """Write the checkpoint of a bundle's weights, if it is not there.

    Args:
        bundle: a cross bundle with its weights, or a model folder.
        folder: where to write.
        calibration: pairs of texts for the peers that quantize statically.

    """
    if (folder / "onnx" / "model.onnx").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    model = AutoModelForSequenceClassification.from_pretrained(bundle).float()
    if model.config.num_labels == 2:
        single = torch.nn.Linear(model.config.hidden_size, 1)
        weight, bias = model.classifier.weight.data, model.classifier.bias.data
        single.weight.data, single.bias.data = weight[1:] - weight[:1], bias[1:] - bias[:1]
        model.classifier = single
        model.num_labels = 1
        model.config.id2label, model.config.label2id = {0: "LABEL_0"}, {"LABEL_0": 0}
    # MiniLM's own settings ask for 128 tokens, which some peers obey: they would rank cut texts, and so be faster.
    tokenizer = AutoTokenizer.from_pretrained(bundle, model_max_length=_LONGEST, max_length=_LONGEST)
    tokenizer.backend_tokenizer.no_truncation()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "calibration.json").write_text(json.dumps(list(calibration)), encoding="utf-8")
    graph = folder / "onnx" / "model.onnx"
    graph.parent.mkdir()
    export_fp32(model, graph)
    model.config.save_pretrained(graph.parent)  # where optimum looks for it
    return folder
