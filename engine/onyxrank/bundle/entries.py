"""The entries of a manifest: a file's hash, the tokenizer, and a variant with its graphs, gate and readout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onyxrank.architectures.readout import Readout
from onyxrank.bundle.fields import Fields, check_path, checked, fault
from onyxrank.errors import InvalidInput
from onyxrank.request.truncation import Limits

PRECISIONS = ("fp32", "fp16", "bf16", "int8_dynamic", "int8_static")
"""Precisions that a variant can have.

A bf16 variant has the fp32 graphs, which a provider computes in bfloat16. The other precisions are those of the
graphs themselves.
"""


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

    @classmethod
    def parse(cls, fields: Fields) -> FileEntry:
        """Make the value out of its object in the manifest.

        Raises:
            BundleError: if a key is missing, unknown or holds another type.

        """
        entry = cls(sha256=fields.take("sha256", str), bytes=fields.take("bytes", int))
        fields.finish()
        return entry


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

    @classmethod
    def parse(cls, fields: Fields) -> TokenizerSpec:
        """Make the value out of its object in the manifest.

        Raises:
            BundleError: if a key is missing, unknown or holds another type.

        """
        spec = cls(
            file=fields.take("file", str),
            cls_token=fields.take("cls_token", str),
            sep_token=fields.take("sep_token", str),
            prefix_safe=fields.take("prefix_safe", bool),
        )
        fields.finish()
        return spec


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
        readout: what makes probabilities of its margins. In bundles of schema 1 it is the logistic function.
        calibration: how the readout was fitted and how good it is, or None if it was not.

    """

    name: str
    precision: str
    files: Mapping[str, str]
    machines: tuple[str, ...] = ()
    batch_invariant: bool = True
    batch_deviation: float = 0.0
    gate: Mapping[str, Any] | None = None
    readout: Readout = field(default_factory=Readout)
    calibration: Mapping[str, Any] | None = None

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

    @classmethod
    def parse(cls, fields: Fields, version: int) -> Variant:
        """Make the value out of its object in the manifest of a schema version.

        Raises:
            BundleError: if a key is missing, unknown or holds another type.

        """
        variant = cls(
            name=fields.take("name", str),
            precision=fields.take("precision", str),
            files={role: checked(path, str, f"files.{role}") for role, path in fields.take("files", dict).items()},
            machines=fields.take_strings("machines"),
            batch_invariant=fields.take("batch_invariant", bool),
            batch_deviation=fields.take("batch_deviation", float),
            gate=fields.take_report("gate"),
            readout=_parse_readout(fields.take_object("readout")) if version > 1 else Readout(),
            calibration=fields.take_report("calibration") if version > 1 else None,
        )
        fields.finish()
        return variant

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict of JSON values, which `parse` turns back into an equal variant."""
        return plain(self) | {
            "files": dict(self.files),
            "machines": list(self.machines),
            "readout": self.readout.to_json(),
        }


def _parse_readout(fields: Fields) -> Readout:
    slope, offset, shift = (fields.take(name, float) for name in ("slope", "offset", "shift"))
    margins, log_odds = (fields.take_numbers(name) for name in ("margins", "log_odds"))
    fields.finish()
    try:
        return Readout(slope=slope, offset=offset, margins=margins, log_odds=log_odds, shift=shift)
    except InvalidInput as error:
        raise fault(str(error)) from error


def plain(value: Limits | TokenizerSpec | Variant | FileEntry) -> dict[str, Any]:
    """Return the attributes of an entry by name."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
