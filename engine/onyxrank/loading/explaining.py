"""Says why items rank where they do: parts of each margin that add up to it.

1. A request is scored as ever, which says the order.
2. An architecture whose margins are sums takes them apart (`Architecture.shares`); that is exact.
3. Of others, the best items are scored again without each event, in one batch. An event's amount is what the margin
   loses without it, and the prior is the rest, so that the parts add up there too. Where events only count together,
   the rest holds what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onyxrank.architectures.base import Shares
from onyxrank.loading.engine import Engine
from onyxrank.request.items import Item, Items
from onyxrank.request.ranking import Ranking, Reason
from onyxrank.request.timings import Stopwatch

PRIOR, EVENT = "prior", "event"


def explain(
    engine: Engine, events: Sequence[str], items: Items, top_k: int | None, watch: Stopwatch, deadline: float | None
) -> Ranking:
    """Rank items and say why.

    Args:
        engine: the loaded model.
        events: the checked texts of the history, oldest first.
        items: the candidates.
        top_k: most hits, already checked; None for all.
        watch: stopwatch to add the seconds of each stage to.
        deadline: seconds from now after which the answer is of no use; None for never.

    Raises:
        OnyxrankError: as `Ranker.rank` does.

    """
    [request], margins = engine.score(lambda: [engine.encode(events, items)], watch, deadline)
    [ranking] = engine.rankings([request], margins, top_k, watch)
    places = np.array([hit.index for hit in ranking], np.intp)
    if not len(places):
        return ranking
    shares = engine.scheduler.architecture.shares(request)
    if shares is None:
        candidates = [request.candidates[place] for place in places.tolist()]
        shares = _without_each(engine, events, candidates, margins[0][places], watch, deadline)
    else:
        shares = Shares(
            {name: told[:, places] for name, told in shares.by_event.items()},
            {name: told[places] for name, told in shares.by_item.items()},
        )
    return replace(
        ranking, hits=tuple(replace(hit, reasons=_reasons(shares, row, events)) for row, hit in enumerate(ranking))
    )


def _without_each(
    engine: Engine,
    events: Sequence[str],
    items: Sequence[Item],
    margins: NDArray[np.float32],
    watch: Stopwatch,
    deadline: float | None,
) -> Shares:
    """Score items without each of the events."""
    left = [[*events[:index], *events[index + 1 :]] for index in range(len(events))]
    _, found = engine.score(lambda: [engine.encode(history, items) for history in left], watch, deadline)
    amounts = margins - np.stack(found) if found else np.zeros((0, len(items)), np.float32)
    return Shares({EVENT: amounts}, {PRIOR: margins - amounts.sum(axis=0)})


def _reasons(shares: Shares, row: int, events: Sequence[str]) -> tuple[Reason, ...]:
    """The reasons of one item, the largest amounts first; what adds nothing is left out."""
    reasons = [Reason(name, None, None, float(told[row])) for name, told in shares.by_item.items()]
    for name, told in shares.by_event.items():
        first = len(events) - len(told)  # the oldest events may not have been read
        reasons += [
            Reason(name, first + place, events[first + place], float(amount))
            for place, amount in enumerate(told[:, row])
        ]
    return tuple(sorted((reason for reason in reasons if reason.amount), key=lambda reason: -abs(reason.amount)))
