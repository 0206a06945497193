"""Names of the architectures."""

from __future__ import annotations

CROSS, SHARED_HISTORY = "cross", "shared-history"
HISTORY, ITEMS = "history", "items"
"""Roles of shared-history's graphs; the first runs once per request."""

KEY_STEP = 16
"""Histories are exported to have keys, those that stand for an item's own tokens included, in multiples of this."""
