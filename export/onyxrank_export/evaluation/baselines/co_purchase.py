"""Co-purchases: candidates that the same shoppers bought as the items of the history come first.

Two items are alike by the cosine of their buyers, shrunk where few bought both: c_ij / (√(c_i c_j) + shrinkage), and
a candidate's score is the sum over the history (Sarwar et al. 2001, section 3.1.1; the shrinkage as in Dacrema et al.
2019, "Are We Really Making Much Progress?", section 3.2). `item_knn` keeps of each item its nearest neighbours alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.sparse import csr_matrix

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.splits import BehaviourSplit
from onyxrank_export.evaluation.baselines.purchases import POWERS, purchases_of_training, scorer_of
from onyxrank_export.evaluation.baselines.scorer import Scorer, best_by_validation

_SHRINKAGES = (0.0, 1.0, 5.0, 20.0)
_NEIGHBOURS = (20, 100)


def co_purchase(split: BehaviourSplit, validation: Sequence[CandidateList]) -> Scorer:
    """Fit on training purchases; the shrinkage and the power of popularity are chosen on validation lists."""
    bought = purchases_of_training(split)
    cosines = {shrinkage: similarity(bought, shrinkage) for shrinkage in _SHRINKAGES}
    _, scorer = best_by_validation(
        product(_SHRINKAGES, POWERS),
        lambda setting: _scorer(cosines[setting[0]], split, setting[1]),
        validation,
    )
    return scorer


def item_knn(split: BehaviourSplit, validation: Sequence[CandidateList]) -> Scorer:
    """Fit as `co_purchase`, with the nearest neighbours of each item alone; how many is chosen, too."""
    bought = purchases_of_training(split)
    nearest = {
        (shrinkage, count): _nearest(similarity(bought, shrinkage), count)
        for shrinkage, count in product(_SHRINKAGES[::2], _NEIGHBOURS)
    }
    _, scorer = best_by_validation(
        product(nearest, POWERS), lambda setting: _scorer(nearest[setting[0]], split, setting[1]), validation
    )
    return scorer


def similarity(bought: csr_matrix, shrinkage: float) -> csr_matrix:
    """The shrunk cosines of all pairs of items, 0 of an item with itself: float32 [items, items].

    Args:
        bought: [users, items] of zeros and ones.
        shrinkage: what is added below the fraction, in purchases.

    """
    both = (bought.T @ bought).tocoo()
    counts = np.asarray(bought.sum(axis=0)).ravel()
    apart = both.row != both.col
    row, column, together = both.row[apart], both.col[apart], both.data[apart]
    alike = together / (np.sqrt(counts[row] * counts[column]) + shrinkage)
    return csr_matrix((alike.astype(np.float32), (row, column)), shape=both.shape)


def _nearest(alike: csr_matrix, count: int) -> csr_matrix:
    """Keep the `count` largest of each column: the items that say most of it."""
    columns = alike.T.tocsr(copy=True)
    for start, end in zip(columns.indptr, columns.indptr[1:], strict=False):
        if end - start > count:
            values = columns.data[start:end]
            values[np.argpartition(-values, count)[count:]] = 0.0
    columns.eliminate_zeros()
    return columns.T.tocsr()


def _scorer(alike: csr_matrix, split: BehaviourSplit, power: float) -> Scorer:
    return scorer_of(lambda events: (events @ alike).toarray(), split.popularity, power)
