"""The manifest of a bundle, ``onyxrank.json``, as Python values that export writes and the engine reads.

1. The schema version is looked at first, and a newer one is refused before anything else is read.
2. Every key is required and has a type, and no other key is allowed, so that a misspelt key does not turn into a
   default.
3. The values are checked on construction, so that export cannot write what the engine would refuse.
4. The reports (parity, gate, training) are free-form and kept as they are. All that the engine reads of them is
   whether a variant has "passed" the gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onyxrank.architectures.readout import HEADS
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.entries import FileEntry, TokenizerSpec, Variant, plain
from onyxrank.bundle.fields import Fields, check_path, fault
from onyxrank.errors import BundleError, InvalidInput
from onyxrank.request.truncation import HISTORY_SEPARATOR, Limits

MANIFEST_NAME = "onyxrank.json"
SCHEMA_VERSION = 2
TRUNCATION: Mapping[str, str] = {"history": "newest", "item": "title_first", "separator": HISTORY_SEPARATOR}
"""The only truncation policy that exists; the manifest records it so that a reader can refuse a later one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole manifest.

    Attributes:
        onyxrank_version: version of onyxrank that wrote the bundle.
        architecture: name of the architecture, a key of ``ARCHITECTURES``.
        head: how logits become a probability: ``softmax`` over two logits, of which the second stands for a purchase,
            or ``sigmoid`` of one logit.
        limits: how many tokens of a history and of an item the model was trained to read.
        tokenizer: the tokenizer's file and its special tokens.
        variants: the variants, at least one. One of them is fp32, except in bundles that `onyxrank tune --export`
            has reduced to the fastest variant.
        files: hash and size of every file of the bundle except the manifest itself, by path.
        parity: export's report on how far the ONNX graphs are from PyTorch.
        gate: report of the quality gate on the whole export.
        training: facts about the training that the weights come from.

    """

    onyxrank_version: str
    architecture: str
    head: str
    limits: Limits
    tokenizer: TokenizerSpec
    variants: tuple[Variant, ...]
    files: Mapping[str, FileEntry]
    parity: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise BundleError(
                f"this onyxrank does not run the architecture {self.architecture!r}, only "
                f"{', '.join(ARCHITECTURES)}; install a newer onyxrank"
            )
        if self.head not in HEADS:
            raise fault(f"head must be one of {', '.join(HEADS)}")
        for path in self.files:
            check_path(path)
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise fault("two variants have the same name")
        if not self.variants:
            raise fault("there are no variants")
        roles = set(ARCHITECTURES[self.architecture].graphs)
        for variant in self.variants:
            if set(variant.files) != roles:
                raise fault(f"variant {variant.name!r} must name the files {', '.join(sorted(roles))} and no other")
        used = [self.tokenizer.file, *(path for variant in self.variants for path in variant.files.values())]
        unlisted = [path for path in used if path not in self.files]
        if unlisted:
            raise fault(f"{', '.join(unlisted)} is used but not listed under files, so it cannot be verified")

    def variant(self, name: str) -> Variant:
        """Return the variant of a name, which must exist."""
        return next(variant for variant in self.variants if variant.name == name)

    def unasked(self, family: str) -> list[Variant]:
        """List the variants that may be loaded on a machine family when the caller names none."""
        return [
            variant
            for variant in self.variants
            if variant.batch_invariant and variant.runs_on(family) and not variant.refused
        ]

    @classmethod
    def parse(cls, data: object) -> Manifest:
        """Make a manifest out of parsed JSON.

        Raises:
            BundleError: if the JSON is no manifest; it names the key at fault, or asks for a newer onyxrank.

        """
        fields = Fields(data)
        version = fields.take("schema_version", int)
        if version > SCHEMA_VERSION:
            raise BundleError(
                f"this bundle has schema version {version} and this onyxrank reads up to {SCHEMA_VERSION}; "
                "install the onyxrank that wrote it, or a newer one"
            )
        if version < 1:
            raise fault("schema_version must be at least 1")
        truncation = fields.take_object("truncation")
        for key, value in TRUNCATION.items():
            if truncation.take(key, str) != value:
                raise fault(f"truncation.{key} must be {value!r}, the only policy there is")
        truncation.finish()
        manifest = cls(
            onyxrank_version=fields.take("onyxrank_version", str),
            architecture=fields.take("architecture", str),
            head=fields.take("head", str),
            limits=_parse_limits(fields.take_object("limits")),
            tokenizer=TokenizerSpec.parse(fields.take_object("tokenizer")),
            variants=tuple(
                Variant.parse(Fields(value, f"variants[{index}]"), version)
                for index, value in enumerate(fields.take("variants", list))
            ),
            files={
                path: FileEntry.parse(Fields(value, f"files[{path!r}]"))
                for path, value in fields.take("files", dict).items()
            },
            parity=fields.take("parity", dict),
            gate=fields.take("gate", dict),
            training=fields.take("training", dict),
        )
        fields.finish()
        return manifest

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict of JSON values, which ``parse`` turns back into an equal manifest."""
        return {
            "schema_version": SCHEMA_VERSION,
            "onyxrank_version": self.onyxrank_version,
            "architecture": self.architecture,
            "head": self.head,
            "limits": plain(self.limits),
            "truncation": dict(TRUNCATION),
            "tokenizer": plain(self.tokenizer),
            "variants": [variant.to_json() for variant in self.variants],
            "files": {path: plain(entry) for path, entry in self.files.items()},
            "parity": dict(self.parity),
            "gate": dict(self.gate),
            "training": dict(self.training),
        }


def _parse_limits(fields: Fields) -> Limits:
    history, item = fields.take("history_tokens", int), fields.take("item_tokens", int)
    fields.finish()
    try:
        return Limits(history_tokens=history, item_tokens=item)
    except InvalidInput as error:
        raise fault(str(error)) from error
