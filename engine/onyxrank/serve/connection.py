"""Limits what a connection may hold and how long: headers and trailers that come in, and answers that go out.

Parsing is h11's, under uvicorn: it bounds the bytes of headers, trailers and chunk sizes alike, keeps trailers apart
from headers, and reads the body of a request that asks for an upgrade. uvicorn has no limits of time, which are here.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER_BYTES = 64 * 2**10
"""Most bytes of a request's headers, and of its trailers; other servers have limits of this order."""
HEADER_TIMEOUT = "header_timeout_s"
"""Key of the time limit of headers in the state that the application's lifespan yields."""
SEND_TIMEOUT = "send_timeout_s"
"""Key of the time limit of answers in that state."""
_LAST_S = 2.0
"""Most seconds that a connection is still there when it has been refused, or when the server stops."""


class Connection(H11Protocol):
    """uvicorn's own protocol, which ends connections that are too slow, and headers and trailers that are too large.

    Args:
        app_state: the state that the application's lifespan yields. Under `HEADER_TIMEOUT` it has the most seconds
            from the beginning of a request, or of the connection, to the end of the headers, and under
            `SEND_TIMEOUT` the most seconds in which a client may take what was written to it.
        more: further arguments of uvicorn's protocol.

    """

    def __init__(self, *, app_state: dict[str, Any], **more: Any) -> None:
        super().__init__(app_state=app_state, **more)
        self.conn = h11.Connection(h11.SERVER, MAX_HEADER_BYTES)
        self._header_timeout_s: float = app_state[HEADER_TIMEOUT]
        self._send_timeout_s: float = app_state[SEND_TIMEOUT]
        self._for_headers: asyncio.TimerHandle | None = None
        self._for_reader: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request, which may never begin."""
        super().connection_made(transport)
        # `pause_writing` then tells of whatever is not taken. At 0, TLS would pause although nothing waits, for ever.
        transport.set_write_buffer_limits(high=1, low=0)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of a connection that is gone."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the request has been refused: what still comes then is dropped."""
        if self._refused:
            return
        super().data_received(data)
        self._watch_headers()

    def on_response_complete(self) -> None:
        """Go on with a request that has come in meanwhile."""
        super().on_response_complete()
        self._watch_headers()

    def pause_writing(self) -> None:
        """Give the client its time to take what is written."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Stop the timer, since the client has taken everything."""
        super().resume_writing()
        if self._for_reader is not None:
            self._for_reader.cancel()
            self._for_reader = None

    def shutdown(self) -> None:
        """Close when the last answer is out, which must not wait for a client that does not read."""
        if self._refused or self.transport.is_closing():
            return
        super().shutdown()
        self._send_timeout_s = min(self._send_timeout_s, _LAST_S)
        if self._for_reader is not None:
            self._await_reader()

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 does not read, because it is malformed or too large."""
        too_large = len(self.conn.trailing_data[0]) > MAX_HEADER_BYTES
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST)

    def _should_upgrade(self) -> bool:
        """Answer every request in HTTP/1.1, whatever upgrade it offers; uvicorn would also log a warning."""
        return False

    def _watch_headers(self) -> None:
        """Start the timer when a request has begun, and stop it when its headers are complete."""
        if self._refused or self.transport.is_closing():
            return
        if self.conn.their_state is not h11.IDLE:
            self._stop_awaiting_headers()
        elif self._for_headers is None and self.conn.trailing_data[0]:
            self._await_headers()

    def _await_headers(self) -> None:
        self._for_headers = self.loop.call_later(self._header_timeout_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _stop_awaiting_headers(self) -> None:
        if self._for_headers is not None:
            self._for_headers.cancel()
            self._for_headers = None

    def _await_reader(self) -> None:
        if self._for_reader is not None:
            self._for_reader.cancel()
        self._for_reader = self.loop.call_later(self._send_timeout_s, self.transport.abort)

    def _stop_timers(self) -> None:
        self._stop_awaiting_headers()
        if self._for_reader is not None:
            self._for_reader.cancel()
            self._for_reader = None

    def _refuse(self, status: HTTPStatus) -> None:
        """End the connection, with a response unless one is being sent already.

        The client may still be sending. A connection that is closed then is reset, and the response with it, so that
        what comes is dropped until the client closes too, for a short time.
        """
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_timers()
        self._unset_keepalive_if_required()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
            )
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(_LAST_S, self.transport.abort)
        else:
            self.transport.close()
