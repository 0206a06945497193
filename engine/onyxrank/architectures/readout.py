"""Makes margins of logits, and probabilities of margins.

A margin is the log-odds of a purchase, float32. Rankings are by margin, because the probabilities of different large
margins are the same number in single precision, so that different items would tie. The readout is the only place that
makes probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import BundleError, InvalidInput

HEADS = ("softmax", "sigmoid")
"""How logits become a probability: a softmax over two, of which the second is for a purchase, or a sigmoid of one."""


def margins_of(logits: NDArray[Any], head: str, rows: int) -> NDArray[np.float32]:
    """Take the margins from a graph's logits.

    Args:
        logits: what the graph answered, of any floating type: [rows, 2] with the head ``softmax``, [rows, 1] with
            ``sigmoid``.
        head: one of `HEADS`.
        rows: number of rows that the graph was given.

    Returns:
        float32 [rows]; a margin is not finite where one of its logits is not.

    Raises:
        BundleError: if the logits have another shape.

    """
    expected = (rows, 2 if head == "softmax" else 1)
    if logits.shape != expected:
        raise BundleError(
            f"the graph answers logits of shape {list(logits.shape)} where the head {head!r} needs "
            f"{list(expected)}; export the bundle again"
        )
    # The difference of two half-precision numbers can need more digits than half precision has.
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which the caller reports
        margins = wide[:, 1] - wide[:, 0] if head == "softmax" else wide[:, 0]
    # A finite margin too large for single precision becomes its largest number, since infinity would be an error.
    limit = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(margins), np.clip(margins, -limit, limit), margins).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """Makes purchase probabilities of margins, as export fitted them on held-out lists.

    The log-odds of a purchase are ``offset + slope · margin`` (Platt 1999; with no offset it is the temperature of
    Guo et al. 2017, section 4.2), or lie on straight lines between knots (isotonic regression, Zadrozny and Elkan
    2002). The logistic function makes them a probability. By default they are the margins themselves, as in training.

    Attributes:
        slope: above 0.
        offset: log-odds where the margin is 0.
        margins: the knots' margins, ascending; none for a straight line, and then slope and offset say nothing.
        log_odds: the knots' log-odds, never descending; beyond the ends they stay what they are there.
        shift: what is added to all log-odds, where the share of purchases is another in the shop than in the lists
            that the readout was fitted on: log(π / (1 - π)) of the shop's less that of the lists'. For sampled
            negatives that is the correction of He et al. 2014, section 6.3.

    """

    slope: float = 1.0
    offset: float = 0.0
    margins: tuple[float, ...] = ()
    log_odds: tuple[float, ...] = ()
    shift: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.slope, self.offset, self.shift, *self.margins, *self.log_odds)
        if not all(math.isfinite(number) for number in numbers):
            raise InvalidInput("every number of a readout must be finite", field="readout")
        if not self.slope > 0:
            raise InvalidInput("a readout's slope must be above 0", field="readout")
        if len(self.margins) != len(self.log_odds):
            raise InvalidInput("a readout needs a log-odds for every margin of its knots", field="readout")
        if any(later <= earlier for earlier, later in pairwise(self.margins)):
            raise InvalidInput("the margins of a readout's knots must ascend", field="readout")
        if any(later < earlier for earlier, later in pairwise(self.log_odds)):
            raise InvalidInput("the log-odds of a readout's knots must not descend", field="readout")

    @property
    def kind(self) -> str:
        """What it is called: ``isotonic``, ``platt``, ``temperature``, or ``logistic`` where nothing was fitted."""
        if self.margins:
            return "isotonic"
        if self.offset:
            return "platt"
        return "logistic" if self.slope == 1.0 else "temperature"

    def probabilities(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 probabilities in [0, 1] of the margins' shape; a larger margin never gets a smaller one."""
        # Computed in double precision and cast once at the end: in single precision, margins near zero would tie.
        wide = margins.astype(np.float64)
        if self.margins:
            odds = self._between_knots(wide) + self.shift
        else:
            odds = self.offset + self.slope * wide + self.shift
        decay = np.exp(-np.abs(odds))
        return (np.where(odds >= 0, 1.0, decay) / (1.0 + decay)).astype(np.float32)

    def _between_knots(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        levels = np.array([self.log_odds[0], *self.log_odds, self.log_odds[-1]])
        place = np.searchsorted(self.margins, margins, side="right")
        # At the end of a line, rounding could lead beyond the knot, and a larger margin would get less.
        return np.clip(np.interp(margins, self.margins, self.log_odds), levels[place], levels[place + 1])

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {
            "slope": self.slope,
            "offset": self.offset,
            "margins": list(self.margins),
            "log_odds": list(self.log_odds),
            "shift": self.shift,
        }
