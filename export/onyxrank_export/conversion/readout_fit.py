"""Fits a readout on held-out lists, so that what the engine calls a probability is one.

1. Two forms are tried: a temperature and a straight line (Platt 1999). Both ascend everywhere; the steps of isotonic
   regression would give different margins one probability, and whoever ranks by probabilities would see ties.
2. Each is fitted on four fifths of the lists and measured on the last, five times. The form with the least log
loss is
   fitted on all of them; of equal ones the first.
3. Where a share of purchases is given, the log-odds are shifted from the lists' own share to it (He et al. 2014,
section
   6.3): lists have as many negatives as were sampled, and a shop sells less of what it shows, or more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.model_selection import GroupKFold

from onyxrank.architectures.readout import Readout
from onyxrank_export.evaluation.metrics import constant_log_loss, log_loss_of

LEAST_PURCHASES = 50
"""Fewer purchases than this say too little to fit on."""
_FOLDS = 5
_LEAST_SLOPE = 1e-3

Pairs: TypeAlias = NDArray[np.float64]
Fit: TypeAlias = Callable[[Pairs, Pairs], Readout]
"""Makes a readout of margins and labels, float64 [pairs] each."""


def fit_readout(
    margins: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.float32]], base_rate: float | None = None
) -> tuple[Readout, Mapping[str, Any]]:
    """Fit the readout of one variant.

    Args:
        margins: float32 [items] of each held-out list.
        labels: relevance of each item; at least 0.5 counts as a purchase.
        base_rate: share of the shown items that the shop sells, between 0 and 1; None keeps the lists' own share.

    Returns:
        The readout, and what the manifest says about it: the form, the lists, the cross-validated log loss beside
        that of a constant, the lists' share of purchases, and the base rate. Where the lists have too few purchases
        the readout is the logistic function, and ``form`` is None.

    """
    known = np.concatenate(margins).astype(np.float64)
    bought = (np.concatenate(labels) >= 0.5).astype(np.float64)
    groups = np.repeat(np.arange(len(margins)), [len(row) for row in margins])
    share = float(bought.mean())
    report: dict[str, Any] = {"form": None, "lists": len(margins), "share": share, "base_rate": base_rate}
    if bought.sum() < LEAST_PURCHASES or share == 1:
        return Readout(), report | {"reason": f"under {LEAST_PURCHASES} purchases, or nothing else, to fit on"}
    losses = {name: _validated(fit, known, bought, groups) for name, fit in _FORMS.items()}
    form = min(losses, key=losses.__getitem__)
    readout = _FORMS[form](known, bought)
    if base_rate is not None:
        readout = replace(readout, shift=float(logit(base_rate) - logit(share)))
    constant = constant_log_loss(bought)
    return readout, report | {"form": form, "log_loss": losses[form], "constant_log_loss": constant}


def _temperature(margins: Pairs, bought: Pairs) -> Readout:
    return Readout(slope=fitted_line(margins, bought, with_offset=False)[0])


def _platt(margins: Pairs, bought: Pairs) -> Readout:
    slope, offset = fitted_line(margins, bought, with_offset=True)
    return Readout(slope=slope, offset=offset)


_FORMS: Mapping[str, Fit] = {"temperature": _temperature, "platt": _platt}


def fitted_line(margins: Pairs, bought: Pairs, *, with_offset: bool = True) -> tuple[float, float]:
    """The slope, which stays above 0, and the offset of the log-odds with the least log loss."""
    scale = float(margins.std()) or 1.0
    scaled = margins / scale

    def loss(line: Pairs) -> tuple[float, Pairs]:
        odds = line[0] * scaled + line[1]
        missed = expit(odds) - bought
        slopes = np.array([missed @ scaled, missed.sum()])
        return float((np.logaddexp(0, odds) - bought * odds).mean()), slopes / len(odds)

    bounds = [(_LEAST_SLOPE, None), (None, None) if with_offset else (0.0, 0.0)]
    slope, offset = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(slope) / scale, float(offset)


def _validated(fit: Fit, margins: Pairs, bought: Pairs, groups: NDArray[np.int64]) -> float:
    """The log loss of a form on lists that it was not fitted on."""
    probabilities = np.empty(len(margins))
    for learnt, held_out in GroupKFold(min(_FOLDS, len(np.unique(groups)))).split(margins, groups=groups):
        readout = fit(margins[learnt], bought[learnt])
        probabilities[held_out] = readout.probabilities(margins[held_out].astype(np.float32))
    return log_loss_of(bought, probabilities)
