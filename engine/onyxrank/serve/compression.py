"""Bodies that came compressed: read where a client of the API compresses them, refused everywhere else."""

from __future__ import annotations

import zlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from onyxrank.serve.problems import Problem, answer

_READ = ("/v2/models/", "/infer")
"""Beginning and end of the paths whose endpoints take compressed bodies, as Triton's clients send them."""
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib calls the two encodings."""


class CannotExpand(Exception):
    """A compressed body is damaged, too large, or of an unknown encoding; it carries the `Problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Compression:
    """Middleware that answers 415 to compressed bodies, except on paths that read them.

    Args:
        app: application to which requests are passed on.

    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not _is_read(scope["path"]):
            encoding = Headers(scope=scope).get("content-encoding", "identity")
            if encoding.lower() not in ("identity", ""):
                await answer(_unsupported("send the body without content-encoding"), scope["path"])(
                    scope, receive, send
                )
                return
        await self._app(scope, receive, send)


def expanded(body: bytes, encoding: str, most: int) -> bytes:
    """Expand a compressed body.

    Args:
        body: the body as it came.
        encoding: its ``content-encoding``; empty or ``identity`` if it is not compressed.
        most: most bytes that it may become.

    Raises:
        CannotExpand: if the encoding is unknown, the body is damaged, or it becomes too large.

    """
    encoding = encoding.lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise CannotExpand(_unsupported("send the body in gzip or deflate, or without content-encoding"))
    inflate = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = inflate.decompress(body, most + 1)
    except zlib.error:
        content = b""
    if len(content) > most:
        message = f"the body is larger than the {most} bytes that this server takes"
        raise CannotExpand(Problem(status=413, kind="too_large", message=message, field="body"))
    if not inflate.eof or inflate.unused_data:
        message = f"the body is not what its content-encoding says, {encoding}"
        raise CannotExpand(Problem(status=400, kind="malformed", message=message, field="body"))
    return content


def _is_read(path: str) -> bool:
    return path.startswith(_READ[0]) and path.endswith(_READ[1])


def _unsupported(message: str) -> Problem:
    return Problem(status=415, kind="unsupported_encoding", message=message, field="content-encoding")
