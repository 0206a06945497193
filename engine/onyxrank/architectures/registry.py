"""The list of the architectures that the engine can run."""

from __future__ import annotations

from collections.abc import Mapping

from onyxrank.architectures.base import Architecture
from onyxrank.architectures.cross import Cross
from onyxrank.architectures.late_interaction import LateInteraction
from onyxrank.architectures.shared_history import SharedHistory

CROSS, SHARED_HISTORY, LATE_INTERACTION = Cross.name, SharedHistory.name, LateInteraction.name
"""Names of the architectures that training and export know."""

ARCHITECTURES: Mapping[str, type[Architecture]] = {
    Cross.name: Cross,
    SharedHistory.name: SharedHistory,
    LateInteraction.name: LateInteraction,
}
"""The architectures by the name that a manifest gives them; a new one is added here with one line."""
