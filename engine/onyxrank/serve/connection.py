"""The connection below a request: its headers must come in within a size and a time.

uvicorn itself waits for ever for the rest of a header, and takes one of any size.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 2**10
HEADER_TIMEOUT = "header_timeout_s"
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """uvicorn's own protocol, with an end to its patience.

    Args:
        app_state: what the application's lifespan yields; under `HEADER_TIMEOUT` the most seconds from the beginning
            of a request, or of the connection, to the end of its headers.
        more: as uvicorn's.

    """

    def __init__(self, *, app_state: dict[str, Any], **more: Any) -> None:
        super().__init__(app_state=app_state, **more)
        self._header_timeout_s: float = app_state[HEADER_TIMEOUT]
        self._patience: asyncio.TimerHandle | None = None
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before the headers are complete."""
        if self._patience is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._patience is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._end(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self._patience is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self._stop()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._header_bytes = 0
        self._patience = self.loop.call_later(self._header_timeout_s, self._end, _TIMEOUT)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _end(self, response: bytes) -> None:
        self._stop()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(response)
        self.transport.close()
