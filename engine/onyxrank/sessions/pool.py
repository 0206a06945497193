"""Combines several sessions of one graph into one session that can run as many micro-batches at once."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from onyxrank.sessions.arrays import Array, Feeds
from onyxrank.sessions.session import Session, SessionInfo


class SessionPool:
    """A `Session` that stands for several sessions of one graph, each of which has its own threads.

    A run takes a session that is free, and waits while none is.

    Args:
        sessions: the sessions, at least one; closing the pool closes them.

    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions
        # The session that ran last is taken first, so that few runs at a time use the same sessions, whose memory
        # has already grown to its size.
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
        """Report what each of the sessions really uses; they are all alike."""
        return self._sessions[0].info()

    def close(self) -> None:
        """Free all sessions."""
        for session in self._sessions:
            session.close()
