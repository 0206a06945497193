"""onyxrank ranks candidate items for a shopper, inside the process that serves the request."""

from __future__ import annotations

from onyxrank.errors import (
    BundleError,
    DeadlineExceeded,
    InvalidInput,
    MissingExtra,
    NonFiniteScore,
    OnyxrankError,
    Overloaded,
    ProviderUnavailable,
)
from onyxrank.loading.options import LoadOptions
from onyxrank.prepared import PreparedHistory
from onyxrank.ranker import Ranker
from onyxrank.request.items import History, Item, ItemLike, Items
from onyxrank.request.ranking import Hit, Ranking, Reason
from onyxrank.request.timings import Timings
from onyxrank.request.truncation import Cuts, Limits

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
    "LoadOptions",
    "MissingExtra",
    "NonFiniteScore",
    "OnyxrankError",
    "Overloaded",
    "PreparedHistory",
    "ProviderUnavailable",
    "Ranker",
    "Ranking",
    "Reason",
    "Timings",
    "__version__",
]
