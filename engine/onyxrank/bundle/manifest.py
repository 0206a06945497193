"""The manifest of a bundle, ``onyxrank.json``, as Python values that export writes and the engine reads.

1. The schema version is looked at first, and a newer one is refused before anything else is read.
2. Every key is required and has a type, and no other key is allowed, so that a misspelt key does not turn into a
   default.
3. The values are checked on construction, so that export cannot write what the engine would refuse.
4. The reports (parity, gate, training) are free-form and kept as they are. All that the engine reads of them is
   whether a variant has "passed" the gate.
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
"""Precisions that a variant can have.

A bf16 variant has the fp32 graphs, which a provider computes in bfloat16. The other precisions are those of the
graphs themselves.
"""
TRUNCATION: Mapping[str, str] = {"history": "newest", "item": "title_first", "separator": HISTORY_SEPARATOR}
"""The only truncation policy that exists; the manifest records it so that a reader can refuse a later one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """The content that a file of the bundle must have.

    Attributes:
        sha256: SHA-256 of the content, as 64 lower-case hexadecimal digits.
        bytes: size of the content.

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
    """The tokenizer's file and how it is used.

    Attributes:
        file: path inside the bundle of the tokenizer, in the JSON format of the library ``tokenizers``.
        cls_token: text of the token that opens a pair of history and item.
        sep_token: text of the token that closes each of the two.
        prefix_safe: whether the tokens of a text that was cut at a space are a prefix of those of the whole text.

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
        name: name of the variant, unique in the bundle; ``Ranker.load(variant=…)`` takes it.
        precision: one of ``PRECISIONS``.
        files: path inside the bundle of each graph, by the graph's role.
        machines: machine families that the variant was made for; empty if it was made for any. The gate judged it
            only on the machine that exported it, but sums of integers are the same on all machines of these
            families (`onyxrank_export.conversion.quantize`).
        batch_invariant: whether an item's score is the same whatever other items are in its micro-batch.
        batch_deviation: largest difference that export measured between an item's probabilities in different batches.
        gate: figures of the quality gate, or None if the gate has not judged the variant.

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
        """Whether the quality gate refused the variant, which was then written by force."""
        return self.gate is not None and self.gate.get("passed") is False

    def runs_on(self, family: str) -> bool:
        """Say whether the variant was made for a machine family."""
        return not self.machines or family in self.machines


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
        """Return a plain dict of JSON values, which ``parse`` turns back into an equal manifest."""
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
