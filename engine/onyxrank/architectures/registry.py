"""The architectures by name."""

from __future__ import annotations

from collections.abc import Mapping

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.cross import PAIR, Cross
from onyxrank.architectures.history_cache import HistoryCache
from onyxrank.architectures.names import CROSS, SHARED_HISTORY
from onyxrank.architectures.shared_history import GRAPHS, SharedHistory
from onyxrank.errors import BundleError
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.session import Session

ARCHITECTURES: Mapping[str, Mapping[str, Graph]] = {CROSS: {"model": PAIR}, SHARED_HISTORY: GRAPHS}
"""Graphs by role, of each architecture by name."""


def build_architecture(
    name: str,
    head: str,
    sessions: Mapping[str, Session],
    limits: BatchLimits,
    pad_id: int,
    cache: HistoryCache | None = None,
) -> Architecture:
    """Put sessions, by role, together as an architecture says.

    Args:
        name: of the architecture, as in a manifest.
        head: as of `Cross`.
        sessions: by the roles of `ARCHITECTURES`.
        limits: how large a micro-batch may get.
        pad_id: token id to pad with.
        cache: of histories; the default size if None. `Cross` has no use for it.

    Raises:
        BundleError: if there is no such architecture.

    """
    if name == CROSS:
        return Cross(sessions["model"], head, limits, pad_id)
    if name == SHARED_HISTORY:
        return SharedHistory(sessions["history"], sessions["items"], head, limits, pad_id, cache)
    raise BundleError(f"the architecture {name!r} has no implementation in this onyxrank")
