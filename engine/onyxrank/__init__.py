"""onyxrank ranks candidate items for a shopper, inside the process that serves the request."""

from __future__ import annotations

from onyxrank._errors import (
    BundleError,
    DeadlineExceeded,
    InvalidInput,
    MissingExtra,
    NonFiniteScore,
    OnyxrankError,
    Overloaded,
    ProviderUnavailable,
)
from onyxrank._items import History, Item, ItemLike, Items
from onyxrank._prepared import PreparedHistory
from onyxrank._ranker import Ranker
from onyxrank._ranking import Hit, Ranking
from onyxrank._timing import Timings
from onyxrank._truncation import Cuts, Limits

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "Cuts",
    "DeadlineExceeded",
    "History",
    "Hit",
    "InvalidInput",
    "Item",
    "ItemLike",
    "Items",
    "Limits",
    "MissingExtra",
    "NonFiniteScore",
    "OnyxrankError",
    "Overloaded",
    "PreparedHistory",
    "ProviderUnavailable",
    "Ranker",
    "Ranking",
    "Timings",
    "__version__",
]
