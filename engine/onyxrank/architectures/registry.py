"""The architectures that this onyxrank runs, by the name that a manifest gives them: one line for each."""

from __future__ import annotations

from collections.abc import Mapping

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.cross import Cross
from onyxrank.architectures.shared_history import SharedHistory

CROSS, SHARED_HISTORY = Cross.name, SharedHistory.name

ARCHITECTURES: Mapping[str, type[Architecture]] = {
    Cross.name: Cross,
    SharedHistory.name: SharedHistory,
}
