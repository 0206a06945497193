"""The errors of an export: of the conversion itself, and of the quality gate."""

from __future__ import annotations

from typing import ClassVar

from onyxrank.errors import GATE_REFUSED, OnyxrankError


class ExportError(OnyxrankError):
    """A checkpoint could not be converted, or the result is not the model it came from."""


class GateRefused(OnyxrankError):
    """A requested precision does not keep the ranking quality, or too few lists say so; no bundle was written.

    Attributes:
        surer: a phrase that says what would make the gate surer.

    """

    exit_status: ClassVar[int] = GATE_REFUSED

    def __init__(self, message: str, surer: str = "") -> None:
        super().__init__(message)
        self.surer = surer
