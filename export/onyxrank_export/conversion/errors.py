"""The errors of an export: of the conversion itself, and of the quality gate."""

from __future__ import annotations

from typing import ClassVar

from onyxrank.errors import GATE_REFUSED, OnyxrankError


class ExportError(OnyxrankError):
    """A checkpoint could not be converted, or the result is not the model it came from."""


class GateRefused(OnyxrankError):
    """A requested precision does not keep the ranking quality, so no bundle was written."""

    exit_status: ClassVar[int] = GATE_REFUSED
