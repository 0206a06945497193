"""Puts the tiny reference model into folders that PyTorch can load: a model folder, and a bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from transformers import BertTokenizerFast

from onyxrank.bundle.manifest import MANIFEST_NAME, Manifest
from onyxrank.bundle.writing import file_entries, write_manifest


def save_model(reference, folder: Path) -> Path:
    """A model folder in Hugging Face format; with a run.json beside it, it would be a run."""
    folder.mkdir(parents=True, exist_ok=True)
    reference.model.save_pretrained(folder)
    BertTokenizerFast(tokenizer_object=reference.tokenizer, do_lower_case=True).save_pretrained(folder)
    return folder


def bundle_with_weights(reference, bundle: Path, target: Path) -> Path:
    """A copy of a bundle with the weights, config and tokenizer that export writes beside the graphs."""
    shutil.copytree(bundle, target)
    save_model(reference, target)
    manifest = Manifest.parse(json.loads((target / MANIFEST_NAME).read_text()))
    write_manifest(target, replace(manifest, files=file_entries(target)))
    return target
