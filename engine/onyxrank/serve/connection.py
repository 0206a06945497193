"""Limits the size and the time in which the headers of a request must come in.

uvicorn itself waits for the rest of a request's headers for ever, and takes headers of any size.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 2**10
"""Most bytes of a request's headers; other servers have limits of this order."""
HEADER_TIMEOUT = "header_timeout_s"
"""Key of the time limit in the state that the application's lifespan yields."""
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """uvicorn's own protocol, which ends connections whose headers are too slow or too large.

    Args:
        app_state: the state that the application's lifespan yields. Under `HEADER_TIMEOUT` it has the most seconds
            from the beginning of a request, or of the connection, to the end of the headers.
        more: further arguments of uvicorn's protocol.

    """

    def __init__(self, *, app_state: dict[str, Any], **more: Any) -> None:
        super().__init__(app_state=app_state, **more)
        self._header_timeout_s: float = app_state[HEADER_TIMEOUT]
        self._timer: asyncio.TimerHandle | None = None
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request, which may never begin."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer of a connection that is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes that come before the headers are complete."""
        if self._timer is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._timer is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._end(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start the timer when a request begins on a connection that has been used before."""
        super().on_message_begin()
        if self._timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        """Stop the timer, since the headers are complete."""
        self._stop_timer()
        super().on_headers_complete()

    def _start_timer(self) -> None:
        self._header_bytes = 0
        self._timer = self.loop.call_later(self._header_timeout_s, self._end, _TIMEOUT)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, response: bytes) -> None:
        """Close the connection, with a response unless one to an earlier request is still being sent."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(response)
        self.transport.close()
