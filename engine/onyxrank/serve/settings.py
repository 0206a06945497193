"""What the server may be told, checked before anything starts."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from onyxrank.checks import check_count
from onyxrank.errors import InvalidInput
from onyxrank.loading.options import SERVER_OPTIONS, LoadOptions
from onyxrank.serve.hosts import ANY, LOOPBACK

LEAST_KEY_CHARACTERS = 16
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Everything about a server but the keys themselves, which are read from their files where they are needed.

    Attributes:
        bundle: folder to serve.
        name: of the model, in answers and metrics; by default the folder's.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        workers: processes, each with a model of its own.
        api_key_file: one key a line, for every route but health; None asks for none.
        admin_key_file: one key a line, for ``/admin``; without it ``/admin`` is closed.
        insecure: listen beyond this machine without a key.
        ssl_certfile: PEM file of the certificate, to serve TLS.
        ssl_keyfile: PEM file of its key.
        items_file: catalogue of the page, as `read_items` takes it; None for a page without one.
        load: how each worker loads the bundle.
        max_items: most items of a request.
        max_text_chars: most characters of one text.
        max_body_bytes: most bytes of a request's body.
        header_timeout_s: most seconds for a request's headers to come in.
        body_timeout_s: most seconds for its body.
        send_timeout_s: most seconds for a client to take its answer.
        keep_alive_s: seconds for which a connection waits for its next request.
        timeout_s: deadline of requests that name none.
        drain_s: most seconds for requests in flight when the server stops.
        cors_origins: origins whose pages may ask the server from a browser, such as ``https://shop.example``; ``*``
            is any.
        allowed_hosts: names for which requests are answered, without a port; ``*`` is any. Empty means those
            of a loopback address where the server listens on one without a key, and any elsewhere.
        control_file: where workers of one server tell each other which bundle to serve; None for one worker.

    """

    bundle: str
    name: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    api_key_file: str | None = None
    admin_key_file: str | None = None
    insecure: bool = False
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    items_file: str | None = None
    load: LoadOptions = SERVER_OPTIONS
    max_items: int = 10_000
    max_text_chars: int = 100_000
    max_body_bytes: int = 32 * 2**20
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    send_timeout_s: float = 60.0
    keep_alive_s: float = 75.0
    timeout_s: float = 30.0
    drain_s: float = 30.0
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    control_file: str | None = None

    def __post_init__(self) -> None:
        for field in ("workers", "max_items", "max_text_chars", "max_body_bytes"):
            check_count(getattr(self, field), field)
        if not 0 <= check_count(self.port, "port", least=0) < 2**16:
            raise InvalidInput(f"port must be from 0 to 65535, not {self.port}", field="port")
        for field in ("header_timeout_s", "body_timeout_s", "send_timeout_s", "keep_alive_s", "timeout_s", "drain_s"):
            if not 0 < getattr(self, field) < float("inf"):
                raise InvalidInput(f"{field} must be seconds above 0, not {getattr(self, field)}", field=field)
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise InvalidInput("TLS needs both a certificate and its key", field="ssl_keyfile")
        for field in ("api_key_file", "admin_key_file"):
            if getattr(self, field) is not None:
                read_keys(getattr(self, field), field)
        if self.api_key_file is None and not self.insecure and not is_loopback(self.host):
            raise InvalidInput(
                f"listening on {self.host}, beyond this machine, needs --api-key-file (or --insecure to go without)",
                field="host",
            )
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise InvalidInput(
                    f"cors_origin must be like https://shop.example, with a port but no path, not {origin}",
                    field="cors_origin",
                )
        object.__setattr__(self, "allowed_hosts", self.allowed_hosts or self._own_hosts())
        if not self.name:
            object.__setattr__(self, "name", Path(self.bundle).resolve().name)

    def _own_hosts(self) -> tuple[str, ...]:
        return (*LOOPBACK, self.host) if self.api_key_file is None and is_loopback(self.host) else (ANY,)

    def to_json(self) -> str:
        """Text that `parse` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> ServeSettings:
        """Read what `to_json` wrote."""
        settings = json.loads(text)
        read: dict[str, object] = {"load": LoadOptions(**settings["load"])}
        read |= {field: tuple(settings[field]) for field in ("cors_origins", "allowed_hosts")}
        return cls(**settings | read)


def read_keys(path: str | Path, field: str = "api_key_file") -> tuple[str, ...]:
    """Read keys, one a line; blank lines and lines that begin with ``#`` are left out.

    Raises:
        InvalidInput: if the file cannot be read, holds none, or one too short to be safe; never quoting a key.

    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: keys cannot be read ({type(error).__name__})", field=field) from error
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise InvalidInput(f"{path}: holds no key; write one a line", field=field)
    for number, key in enumerate(keys, 1):
        if len(key) < LEAST_KEY_CHARACTERS or not key.isascii() or any(character.isspace() for character in key):
            raise InvalidInput(
                f"{path}: key {number} must be at least {LEAST_KEY_CHARACTERS} ASCII characters without spaces",
                field=field,
            )
    return keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
