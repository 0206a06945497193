"""How many connections a worker may hold, by the file descriptors that the system lets it open.

Without a descriptor a server cannot even accept a connection to refuse it: connections, those of health probes too,
are reset, and nothing tells why. So some are kept back, and a connection above that is answered with 503 and logged.
"""

from __future__ import annotations

import sys

_WANTED = 65_536
"""Descriptors that are enough for any server; some systems allow a thousand million."""
_KEPT_BACK = 128
"""Descriptors for what is no connection: the model's files during a reload, metrics, logs."""
_LEAST = 16
"""Fewest connections, where the system allows next to nothing."""


def most_connections() -> int | None:
    """Raise the process's limit as far as it may, and return how many connections that allows; None for no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    wanted = _WANTED if hard == infinite else min(_WANTED, hard)
    if soft != infinite and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return None if soft == infinite else max(_LEAST, soft - _KEPT_BACK)
