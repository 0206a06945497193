"""Imports onnxruntime with its telemetry switched off.

From version 1.32 on, onnxruntime sends events to its maker as soon as it is imported: the names of a model's file and
graph, the path of the interpreter, and the hardware. It keeps them on disk until they are sent. The call that is
documented to stop this does not; a variable of the environment does, if it is set before the first import.

Where a program imports onnxruntime itself before it loads a bundle, this module comes too late, and the program has
to set the variable.
"""

from __future__ import annotations

import os
from typing import Any

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Environment variable that keeps onnxruntime from collecting and sending events."""


def decline_telemetry() -> None:
    """Switch telemetry off for an onnxruntime that is imported later, unless the variable has a value already."""
    os.environ.setdefault(NO_TELEMETRY, "1")


def import_runtime() -> Any:
    """Import onnxruntime without its telemetry, and return the module.

    It is called only when a graph is opened: the import would take a quarter of the time of `import onyxrank`.
    """
    decline_telemetry()
    import onnxruntime

    return onnxruntime
