"""How often the quality gate passes a graph that keeps its quality, and one that does not, by resampling real lists.

The metrics of one model in fp32 and int8 on real test lists are kept in the results. Lists are drawn from them with
replacement, weighed so that the int8 graph keeps a given share of NDCG@10 above chance (exponential tilting: the same
lists, those that lose more or less often). The gate then looks as it does in an export. Beside it stands the rule of
before, which asked of one number of lists whether 99 % of all NDCG@10 was kept.

    python benchmarks/gate_error_rates.py [--runs 2000] [--limit 2048]
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from onyxrank_export.conversion.gate import PASSED, REFUSED, UNDECIDED, GateLimits, figure_of, kept_figure
from onyxrank_export.conversion.sequential import errors, looks
from provenance import result_folder, stamp, write_result
from quality_files import QUALITY, read_figures

_SETS = ("amazon2018_office", "online_retail_uci")
_KEPT = (0.998, 0.99, 0.985, 0.98, 0.97)


def lists_of(
    data_set: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Read NDCG@10 of int8, of fp32 and of chance, and the change of AUC: float64 [lists] each."""
    folder = QUALITY / data_set / "last-item.sampled-v1"
    int8, fp32, chance = (
        read_figures(folder / f"{name}.npz").metrics
        for name in ("shared-history.int8.seed0", "shared-history.fp32.seed0", "chance")
    )
    ndcg = [np.asarray(each["ndcg_at_10"], np.float64) for each in (int8, fp32, chance)]
    return ndcg[0], ndcg[1], ndcg[2], np.asarray(int8["auc"], np.float64) - fp32["auc"]


def tilted(change: NDArray[np.float64], gain: NDArray[np.float64], kept: float) -> NDArray[np.float64]:
    """The chances of lists under which the share kept is as given: float64 [lists]."""

    def chances(tilt: float) -> NDArray[np.float64]:
        weights = np.exp(tilt * (change - change.max()) if tilt > 0 else tilt * (change - change.min()))
        return weights / weights.sum()

    def off(tilt: float) -> float:
        drawn = chances(tilt)
        return float(drawn @ change - (kept - 1) * (drawn @ gain))

    return chances(float(brentq(off, -50.0, 50.0)))


def outcomes(data_set: str, kept: float, limit: int, runs: int, generator: np.random.Generator) -> dict[str, float]:
    """The shares of runs that pass, are refused and stay undecided, their lists, and what the old rule passes."""
    int8, fp32, chance, auc = lists_of(data_set)
    above, gain = int8 - chance, fp32 - chance
    drawn_by = tilted(int8 - fp32, gain, kept)
    limits, found, took, old = GateLimits(), {PASSED: 0, REFUSED: 0, UNDECIDED: 0}, 0, {64: 0, 256: 0}
    for _ in range(runs):
        lists = generator.choice(len(above), limit, p=drawn_by)
        for look, error in zip(looks(limit), errors(limit, limits.error), strict=True):
            part = lists[:look]
            figures = (
                kept_figure(above[part], gain[part], error, limits),
                figure_of(auc[part], (-limits.auc_change, limits.auc_change), error, limits.error, 0.1),
            )
            each = {figure.outcome for figure in figures}
            outcome = REFUSED if REFUSED in each else PASSED if each == {PASSED} else UNDECIDED
            if outcome != UNDECIDED:
                break
        found[outcome] += 1
        took += look
        for size in old:
            old[size] += int8[lists[:size]].mean() / fp32[lists[:size]].mean() >= 0.99
    rates = {name: count / runs for name, count in found.items()} | {"mean_lists": took / runs}
    return rates | {f"before_{size}_lists": count / runs for size, count in old.items()}


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--limit", type=int, default=2048, help="most lists that the gate looks at")
    options = parser.parse_args()
    record = stamp("gate")
    generator = np.random.default_rng(0)
    rates = {
        data_set: {str(kept): outcomes(data_set, kept, options.limit, options.runs, generator) for kept in _KEPT}
        for data_set in _SETS
    }
    print(json.dumps(rates, indent=1))
    write_result(record, {"limit": options.limit, "rates": rates}, result_folder(record) / "gate-error-rates.json")


if __name__ == "__main__":
    main()
