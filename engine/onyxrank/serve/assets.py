"""The files of the page, which are read once. They are the same for everyone and hold no data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HOME = "index.html"
POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no text of an item can become markup, even by mistake
    )
)
"""Content-Security-Policy of the page: it loads nothing from elsewhere, and no script or style but these files."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page.

    Attributes:
        content: content of the file.
        media_type: media type of the file, with the charset.
        tag: entity tag for caches, which changes with the content.

    """

    content: bytes
    media_type: str
    tag: str


def _read() -> dict[str, Asset]:
    assets = {}
    for file in files(__package__).joinpath("static").iterdir():
        content = file.read_bytes()
        path = "/" if file.name == _HOME else f"/page/{file.name}"
        media_type = _TYPES["." + file.name.rpartition(".")[2]]
        assets[path] = Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return assets


ASSETS: Mapping[str, Asset] = _read()
"""The files by the paths under which the server gives them."""
