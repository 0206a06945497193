"""Whether probabilities are what they say: log loss beside a constant's, calibration error, and a diagram.

Calibration is measured of all candidates, and of the best ten of each list: what a shop shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from onyxrank_export.evaluation.bootstrap import bootstrap
from onyxrank_export.evaluation.metrics import CUTOFF, calibration_error, constant_log_loss, log_loss_of

_BINS = 15


@dataclass(frozen=True, slots=True)
class Calibration:
    """How good probabilities are on some lists.

    Attributes:
        log_loss: over all candidates.
        constant_log_loss: that of saying the lists' share of purchases of every one.
        error: the expected calibration error, and its bootstrap 95 % interval over lists.
        error_of_best: the same of the best ten of each list.

    """

    log_loss: float
    constant_log_loss: float
    error: tuple[float, float, float]
    error_of_best: tuple[float, float, float]

    def sentence(self) -> str:
        """Say it in one line."""
        all_of_them, best = (
            f"{value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in (self.error, self.error_of_best)
        )
        return (
            f"Probabilities: log loss {self.log_loss:.4f}, a constant's {self.constant_log_loss:.4f}; "
            f"calibration error {all_of_them}, of the best ten of each list {best}."
        )


def calibration(labels: Sequence[NDArray[np.float32]], probabilities: Sequence[NDArray[np.floating]]) -> Calibration:
    """Measure the probabilities of lists.

    Args:
        labels: relevance of each candidate; at least 0.5 counts as a purchase.
        probabilities: float [candidates] of each list.

    """
    bought = [row >= 0.5 for row in labels]
    said = [np.asarray(row, np.float64) for row in probabilities]
    best = [np.argsort(-row, kind="stable")[:CUTOFF] for row in said]
    every, told = np.concatenate(bought), np.concatenate(said)
    return Calibration(
        log_loss_of(every, told),
        constant_log_loss(every),
        _error(bought, said),
        _error(
            [row[places] for row, places in zip(bought, best, strict=True)],
            [row[places] for row, places in zip(said, best, strict=True)],
        ),
    )


def without_shift(probabilities: NDArray[np.floating], shift: float) -> NDArray[np.float64]:
    """Probabilities as they would be without a readout's shift, for lists of the share that it was fitted on."""
    said = np.asarray(probabilities, np.float64)
    return np.asarray(expit(logit(said) - shift), np.float64) if shift else said


def draw_reliability(
    labels: Sequence[NDArray[np.float32]], probabilities: Sequence[NDArray[np.floating]], path: Path
) -> None:
    """Draw what was said against what happened, in bins that hold as many candidates each, with 95 % intervals.

    Args:
        labels: as of `calibration`.
        probabilities: likewise.
        path: the PNG to write.

    """
    from matplotlib.figure import Figure

    every, told = np.concatenate(labels) >= 0.5, np.concatenate(probabilities).astype(np.float64)
    parts = [part for part in np.array_split(np.argsort(told, kind="stable"), _BINS) if len(part)]
    said = np.array([told[part].mean() for part in parts])
    share = np.array([every[part].mean() for part in parts])
    sizes = np.array([len(part) for part in parts])
    spread = 1.96 * np.sqrt(share * (1 - share) / sizes)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.axline((0, 0), slope=1, color="0.7", linewidth=1)
    axes.errorbar(said, share, yerr=spread, fmt="o", markersize=4, capsize=2)
    top = 1.1 * max(float(said.max()), float((share + spread).max()), 1e-3)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="probability that was said", ylabel="share that was bought")
    figure.savefig(path, dpi=120)


def _error(bought: Sequence[NDArray[np.bool_]], said: Sequence[NDArray[np.float64]]) -> tuple[float, float, float]:
    """The calibration error, and its interval by resampling whole lists."""
    value = calibration_error(np.concatenate(bought), np.concatenate(said), _BINS)
    places = np.arange(len(bought), dtype=np.float64)

    def of(sample: NDArray[np.float64]) -> float:
        rows = sample.astype(int)
        return calibration_error(
            np.concatenate([bought[row] for row in rows]), np.concatenate([said[row] for row in rows]), _BINS
        )

    return (value, *bootstrap(places, statistic=of, resamples=200))
