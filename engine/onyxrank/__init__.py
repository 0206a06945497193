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
from onyxrank._items import Item
from onyxrank._prepared import PreparedHistory
from onyxrank._ranker import Ranker
from onyxrank._ranking import Hit, Ranking
from onyxrank._truncation import Cuts, Limits

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "Cuts",
    "DeadlineExceeded",
    "Hit",
    "InvalidInput",
    "Item",
    "Limits",
    "MissingExtra",
    "NonFiniteScore",
    "OnyxrankError",
    "Overloaded",
    "PreparedHistory",
    "ProviderUnavailable",
    "Ranker",
    "Ranking",
    "__version__",
]
