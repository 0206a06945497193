"""All baselines that apply to some data, fitted on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onyxrank.errors import InvalidInput, MissingExtra
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.splits import BehaviourSplit, Split
from onyxrank_export.evaluation.baselines.bm25 import bm25
from onyxrank_export.evaluation.baselines.co_purchase import co_purchase, item_knn
from onyxrank_export.evaluation.baselines.ease import ease
from onyxrank_export.evaluation.baselines.encoder import encoder
from onyxrank_export.evaluation.baselines.logit import logit
from onyxrank_export.evaluation.baselines.popularity import popularity, rarity
from onyxrank_export.evaluation.baselines.scorer import Scorer

NAMES = ("popularity", "rarity", "bm25", "encoder", "co_purchase", "item_knn", "ease", "logit")
"""All baselines, in the order of the tables."""


def fitted_baselines(
    split: Split,
    validation: Sequence[CandidateList],
    *,
    names: Sequence[str] = NAMES,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Scorer]:
    """Fit the baselines that apply.

    Args:
        split: the data in its three parts.
        validation: the lists that settings and weights are chosen on, of the kind to be measured on; none if there
            are none.
        names: which of `NAMES` to fit.
        say: told the name of each before it is fitted.

    Returns:
        Scorers by name, in the order of `NAMES`. Popularity, rarity and what learns from purchases are for behaviour
        data alone. Without validation lists there is nothing to choose by: then co-purchases, item-kNN, EASE and the
        logit are left out. The encoder is MiniLM, and left out where its package is not installed; that is said. The
        logit weighs those together that are fitted.

    Raises:
        InvalidInput: if there is no baseline of a name.

    """
    for name in names:
        if name not in NAMES:
            raise InvalidInput(f"baselines must be of {', '.join(NAMES)}, not '{name}'", field="baselines")
    items = split.data.items
    makers: dict[str, Callable[[], Scorer]] = {"bm25": lambda: bm25(items), "encoder": lambda: encoder(items)}
    often = None
    if isinstance(split, BehaviourSplit):
        often = split.popularity
        makers |= {"popularity": lambda: popularity(often), "rarity": lambda: rarity(often)}
        if validation:
            makers |= {
                "co_purchase": lambda: co_purchase(split, validation),
                "item_knn": lambda: item_knn(split, validation),
                "ease": lambda: ease(split, validation),
            }
    scorers: dict[str, Scorer] = {}
    if validation:
        makers["logit"] = lambda: logit(
            {name: scorer for name, scorer in scorers.items() if name not in ("popularity", "rarity")},
            often,
            validation,
        )
    for name in NAMES:
        if name in names and name in makers:
            say(name)
            try:
                scorers[name] = makers[name]()
            except MissingExtra as error:
                say(f"without the {name}: {error}")
    return scorers
