"""What an export is asked for: precisions, and how strictly they are judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from onyxrank.errors import InvalidInput
from onyxrank.request.truncation import Limits
from onyxrank_export.conversion.gate import GateLimits

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8_static", "int8_dynamic")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What to write and how strictly to check it.

    Attributes:
        precisions: of `PRECISIONS`; fp32 is always written. None takes int8 too where there is data to gate it on.
        gate_lists: most held-out lists the gate looks at.
        base_rate: share of the items shown that the shop sells, for the readout; None keeps the held-out lists' own.
        gate: what a quantized variant may lose.
        force: write variants that fail the gate too; the manifest says so.
        overwrite: replace an existing bundle, once the new one is whole.
        limits: token limits of a model that was not trained here; a run brings its own.
        relevant: name of the class of relevant items of such a model, where the names of its classes do not tell.

    """

    precisions: tuple[str, ...] | None = None
    gate_lists: int = 2048
    base_rate: float | None = None
    gate: GateLimits = field(default_factory=GateLimits)
    force: bool = False
    overwrite: bool = False
    limits: Limits | None = None
    relevant: str | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.precisions or () if name not in PRECISIONS]
        if unknown:
            raise InvalidInput(
                f"no precision {', '.join(unknown)}; choose of {', '.join(PRECISIONS)}", field="precision"
            )
        if self.gate_lists < 1:
            raise InvalidInput("gate_lists must be at least 1", field="gate_lists")
        if self.base_rate is not None and not 0 < self.base_rate < 1:
            raise InvalidInput(f"base_rate must be between 0 and 1, not {self.base_rate}", field="base_rate")

    def quantized(self, *, with_data: bool) -> tuple[str, ...]:
        """The precisions below fp32 to write: those asked for, or int8 where none was named and there is data."""
        asked = self.precisions or (("int8",) if with_data else ())
        return tuple(name for name in asked if name != "fp32")


def covers(asked: str, precision: str) -> bool:
    """Whether a precision that was asked for includes another: ``int8`` includes ``int8_static`` and so on."""
    return asked in (precision, precision.partition("_")[0])
