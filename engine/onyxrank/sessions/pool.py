"""Several sessions of one graph as one: as many runs at once as there are sessions."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from onyxrank.sessions.arrays import Array, Feeds
from onyxrank.sessions.session import Session, SessionInfo


class SessionPool:
    """Sessions of one graph, each with threads of its own; a `Session` itself.

    A run takes a free session and waits while there is none.

    Args:
        sessions: at least one; closed with the pool.

    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        for session in sessions:
            self._free.put(session)

    def run(self, feeds: Feeds) -> list[Array]:
        """Run the graph on a free session; see `Session.run`."""
        session = self._free.get()
        try:
            return session.run(feeds)
        finally:
            self._free.put(session)

    def info(self) -> SessionInfo:
        """Say what each session is and really runs on."""
        return self._sessions[0].info()

    def close(self) -> None:
        """Free all sessions."""
        for session in self._sessions:
            session.close()
