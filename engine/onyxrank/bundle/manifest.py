"""The manifest of a bundle, ``onyxrank.json``, as values: export writes them and the engine reads them.

1. The schema version is looked at first: a newer one is refused before anything else is read.
2. Every key is required and typed, and no other key is allowed: a misspelt key must not become a default.
3. The values are checked on construction, so that export cannot write what the engine would refuse.
4. Reports (parity, gate, training) are free-form, kept as they are; of them the engine reads only "passed".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onyxrank.architectures.readout import HEADS
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.fields import Fields, check_path, checked, fault
from onyxrank.errors import BundleError, InvalidInput
from onyxrank.request.truncation import HISTORY_SEPARATOR, Limits

MANIFEST_NAME = "onyxrank.json"
SCHEMA_VERSION = 1
PRECISIONS = ("fp32", "fp16", "bf16", "int8_dynamic", "int8_static")
"""bf16 is how a provider computes the fp32 graphs; the others are of the graphs themselves."""
TRUNCATION: Mapping[str, str] = {"history": "newest", "item": "title_first", "separator": HISTORY_SEPARATOR}
"""The one truncation policy there is; the manifest records it so that a reader can refuse another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """What a file of the bundle must be.

    Attributes:
        sha256: lower-case hex digest of the content.
        bytes: size.

    """

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise fault("a file's sha256 must be 64 lower-case hexadecimal digits")
        if self.bytes < 0:
            raise fault("a file's bytes must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSpec:
    """How the tokenizer file is used.

    Attributes:
        file: path inside the bundle of a ``tokenizers`` JSON file.
        cls_token: text of the token that opens a pair.
        sep_token: text of the token that closes each segment.
        prefix_safe: whether the tokens of a text cut at a space are a prefix of the tokens of the whole text.

    """

    file: str
    cls_token: str
    sep_token: str
    prefix_safe: bool

    def __post_init__(self) -> None:
        check_path(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One set of graphs in one precision.

    Attributes:
        name: unique in the bundle; what ``Ranker.load(variant=…)`` takes.
        precision: one of ``PRECISIONS``.
        files: path inside the bundle of each graph, by role.
        machines: machine families it was made for; empty for any. The gate judged it on the one that exported it,
            but sums of integers are the same on all of them (`onyxrank_export.conversion.quantize`).
        batch_invariant: whether an item's score is the same whatever else is in its micro-batch.
        batch_deviation: largest change of a probability that was measured over different batches.
        gate: figures of the quality gate, or None if it was not gated.

    """

    name: str
    precision: str
    files: Mapping[str, str]
    machines: tuple[str, ...] = ()
    batch_invariant: bool = True
    batch_deviation: float = 0.0
    gate: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.name or self.name == "auto":
            raise fault("a variant's name must be some text other than 'auto'")
        if self.precision not in PRECISIONS:
            raise fault(f"variant {self.name!r}: precision must be one of {', '.join(PRECISIONS)}")
        for path in self.files.values():
            check_path(path)

    @property
    def refused(self) -> bool:
        """Whether the gate refused it and it was written all the same, by force."""
        return self.gate is not None and self.gate.get("passed") is False

    def runs_on(self, family: str) -> bool:
        """Whether the variant was made for a machine family."""
        return not self.machines or family in self.machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole manifest.

    Attributes:
        onyxrank_version: version that wrote it.
        architecture: a key of ``ARCHITECTURES``.
        head: how logits become a probability: ``softmax`` over 2 (class 1) or ``sigmoid`` of 1.
        limits: how many tokens of each side the model was trained to read.
        tokenizer: the tokenizer's file and special tokens.
        variants: at least one; fp32 is among them, but in what `onyxrank tune --export` writes.
        files: every file of the bundle but the manifest itself, by path.
        parity: report of ONNX against PyTorch.
        gate: report of the quality gate.
        training: where the weights come from.

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
        """The variant of that name, which must be there."""
        return next(variant for variant in self.variants if variant.name == name)

    def unasked(self, family: str) -> list[Variant]:
        """The variants that may be loaded on a machine family without being named."""
        return [
            variant
            for variant in self.variants
            if variant.batch_invariant and variant.runs_on(family) and not variant.refused
        ]

    @classmethod
    def parse(cls, data: object) -> Manifest:
        """Make a manifest of parsed JSON.

        Raises:
            BundleError: naming the key at fault, or that a newer onyxrank is needed.

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
            tokenizer=_parse_tokenizer(fields.take_object("tokenizer")),
            variants=tuple(
                _parse_variant(Fields(value, f"variants[{index}]"))
                for index, value in enumerate(fields.take("variants", list))
            ),
            files={
                path: _parse_file(Fields(value, f"files[{path!r}]"))
                for path, value in fields.take("files", dict).items()
            },
            parity=fields.take("parity", dict),
            gate=fields.take("gate", dict),
            training=fields.take("training", dict),
        )
        fields.finish()
        return manifest

    def to_json(self) -> dict[str, Any]:
        """Plain dict of JSON values that ``parse`` reads back to an equal manifest."""
        return {
            "schema_version": SCHEMA_VERSION,
            "onyxrank_version": self.onyxrank_version,
            "architecture": self.architecture,
            "head": self.head,
            "limits": _plain(self.limits),
            "truncation": dict(TRUNCATION),
            "tokenizer": _plain(self.tokenizer),
            "variants": [
                {**_plain(variant), "files": dict(variant.files), "machines": list(variant.machines)}
                for variant in self.variants
            ],
            "files": {path: _plain(entry) for path, entry in self.files.items()},
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


def _parse_tokenizer(fields: Fields) -> TokenizerSpec:
    spec = TokenizerSpec(
        file=fields.take("file", str),
        cls_token=fields.take("cls_token", str),
        sep_token=fields.take("sep_token", str),
        prefix_safe=fields.take("prefix_safe", bool),
    )
    fields.finish()
    return spec


def _parse_variant(fields: Fields) -> Variant:
    variant = Variant(
        name=fields.take("name", str),
        precision=fields.take("precision", str),
        files={role: checked(path, str, f"files.{role}") for role, path in fields.take("files", dict).items()},
        machines=fields.take_strings("machines"),
        batch_invariant=fields.take("batch_invariant", bool),
        batch_deviation=fields.take("batch_deviation", float),
        gate=fields.take_report("gate"),
    )
    fields.finish()
    return variant


def _parse_file(fields: Fields) -> FileEntry:
    entry = FileEntry(sha256=fields.take("sha256", str), bytes=fields.take("bytes", int))
    fields.finish()
    return entry


def _plain(value: Limits | TokenizerSpec | Variant | FileEntry) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
